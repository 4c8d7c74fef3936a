//! What the real program prints, held against the documents that show it. `UPDATE=1` rewrites what they show.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The document with a screen of each error.
const DOCUMENT: &str = "docs/troubleshooting.md";

/// The files that its commands name.
const FILES: &str = "test_data/screens";

/// How a command of the program stands there.
const PROMPT: &str = "```console\n$ harbor-warmer ";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What a shell prints of a command, in a directory with copies of the files.
fn screen(command: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    copy(&root().join(FILES), directory.path());
    let program = Path::new(env!("CARGO_BIN_EXE_harbor-warmer")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {command}")])
        .current_dir(directory.path())
        .env("PATH", format!("{}:{path}", program.display()))
        .env_remove("HARBOR_WARMER_CONFIG")
        .env_remove("HARBOR_WARMER_ADMIN")
        .env_remove("HARBOR_WARMER_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => {
                std::fs::create_dir(&target).unwrap();
                copy(&entry.path(), &target);
            }
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[test]
fn the_real_program_prints_every_screen_of_the_troubleshooting_page() {
    let path = root().join(DOCUMENT);
    let page = std::fs::read_to_string(&path).unwrap();
    let mut parts = page.split(PROMPT);
    let mut printed = parts.next().unwrap().to_owned();
    let mut count = 0;
    for part in parts {
        let (block, after) = part.split_once("\n```\n").expect("a block of a document ends");
        let command = block.lines().next().unwrap_or_default();
        let shown = screen(&format!("harbor-warmer {command}"));
        printed.push_str(&format!("{PROMPT}{command}\n{}\n```\n{after}", shown.trim_end()));
        count += 1;
    }
    assert!(count >= 10, "{count} screens");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &printed).unwrap();
        return;
    }
    similar(&page, &printed);
}

/// Names the first line that differs.
fn similar(shown: &str, printed: &str) {
    for (number, (shown, printed)) in shown.lines().zip(printed.lines()).enumerate() {
        assert_eq!(shown, printed, "{DOCUMENT}, line {}; UPDATE=1 rewrites it", number + 1);
    }
    assert_eq!(shown, printed, "{DOCUMENT}; UPDATE=1 rewrites it");
}

#[cfg(test)]
mod pipes {
    use super::screen;

    /// A shell's `head` ends long before everything is written; `pipefail` would tell of it.
    #[test]
    fn a_reader_that_has_gone_is_no_error_of_the_commands() {
        for command in ["harbor-warmer map --settings settings.yaml nginx:1.27", "harbor-warmer warm app.yaml --strict"]
        {
            let told = screen(&format!("({command}; echo status $? >&3) 3>status 2>&1 | true; cat status"));
            assert!(told.contains("status 0") || told.contains("status 2"), "{command}: {told}");
        }
    }
}
