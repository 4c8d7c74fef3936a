//! Where the tests find the policy's `.wasm`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const TARGET: &str = "wasm32-wasip1";

/// The policy's `.wasm`: the file that the environment variable `POLICY_WASM` names, else a release build of the
/// workspace's root package, made once per process.
///
/// # Panics
/// When it can't be built, with the compiler's words and what to install.
pub fn policy_wasm() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = std::env::var_os("POLICY_WASM") {
        return path.into();
    }
    BUILT.get_or_init(build).clone()
}

fn build() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--locked", "--target", TARGET, "-p", "harbor-warmer-policy"])
        .current_dir(&workspace)
        .output()
        .unwrap_or_else(|error| panic!("cannot run cargo to build the policy: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        !stderr.contains("target may not be installed"),
        "the policy is built for {TARGET}, which is not installed: rustup target add {TARGET}"
    );
    assert!(output.status.success(), "cannot build the policy for {TARGET}:\n{stderr}");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    workspace.join(target).join(TARGET).join("release/harbor_warmer_policy.wasm")
}
