//! `docker-registry` as a process, alone or as the cache of another one.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::site::PATIENCE;

const PROGRAM: &str = "docker-registry";

pub(super) struct Registry {
    pub(super) address: SocketAddr,
    directory: TempDir,
    process: Option<Child>,
}

/// Whether the program is there; says so where it isn't, and panics where it has to be.
pub(super) fn is_installed() -> bool {
    let version = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let installed = version.is_ok();
    if !installed {
        let required = std::env::var("HARBOR_WARMER_REQUIRE_REGISTRY").is_ok_and(|value| value == "1");
        assert!(!required, "{PROGRAM} is not installed: apt-get install docker-registry");
        println!("skipped: {PROGRAM} is not installed");
    }
    installed
}

impl Registry {
    /// `upstream` makes it a pull-through cache.
    pub(super) fn new(address: SocketAddr, upstream: Option<SocketAddr>) -> Self {
        Self::with(address, upstream, "")
    }

    /// With this beneath `middleware`, one line of YAML.
    pub(super) fn with(address: SocketAddr, upstream: Option<SocketAddr>, middleware: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let storage = directory.path().join("storage");
        let proxy = upstream.map(|upstream| format!("proxy: {{remoteurl: 'http://{upstream}'}}\n"));
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\n\
             http: {{addr: '{address}'}}\n{}middleware: {{{middleware}}}\n",
            storage.display(),
            proxy.unwrap_or_default(),
        );
        std::fs::write(directory.path().join("config.yml"), config).unwrap();
        Self { address, directory, process: None }
    }

    /// Starts it and waits until it answers. A cache ends at once if its origin does not answer then.
    pub(super) async fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let process = Command::new(PROGRAM)
            .arg("serve")
            .arg(self.path("config.yml"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
        let address = self.address;
        self.eventually("answers", async || TcpStream::connect(address).await.is_ok()).await;
    }

    /// SIGKILL, and the end of it.
    pub(super) async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            tokio::task::spawn_blocking(move || process.wait()).await.unwrap().unwrap();
        }
    }

    /// Waits until an upload of that many bytes is under way in its storage.
    pub(super) async fn wait_until_it_stores(&self, bytes: u64) {
        let uploads = self.storage().join("repositories");
        let is_large = |path: &PathBuf| {
            let upload = path.components().any(|part| part.as_os_str() == "_uploads");
            upload && path.ends_with("data") && path.metadata().is_ok_and(|file| file.len() >= bytes)
        };
        self.eventually("stores a layer", async || files(&uploads).iter().any(is_large)).await;
    }

    /// The digests of everything in its storage that is what its name says.
    pub(super) fn whole_contents(&self) -> BTreeSet<String> {
        let mut digests = BTreeSet::new();
        for path in files(&self.storage().join("blobs")) {
            let name = path.parent().and_then(Path::file_name).unwrap().to_string_lossy().into_owned();
            let hex: String =
                Sha256::digest(std::fs::read(&path).unwrap()).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(hex, name, "{} is not what its name says", path.display());
            digests.insert(format!("sha256:{hex}"));
        }
        digests
    }

    /// Changes a byte of a blob; what it was.
    pub(super) fn spoil(&self, digest: &str) -> Vec<u8> {
        let good = std::fs::read(self.blob(digest)).unwrap();
        let mut spoilt = good.clone();
        spoilt[good.len() / 2] ^= 1;
        self.restore(digest, &spoilt);
        good
    }

    pub(super) fn restore(&self, digest: &str, content: &[u8]) {
        std::fs::write(self.blob(digest), content).unwrap();
    }

    /// What its storage has at a path that a redirect names.
    pub(super) fn stored_at(&self, path: &str) -> Option<Vec<u8>> {
        let path = path.trim_start_matches('/');
        let is_below = !path.split('/').any(|part| part == "..");
        std::fs::read(self.path("storage").join(path)).ok().filter(|_| is_below)
    }

    fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        self.storage().join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    fn storage(&self) -> PathBuf {
        self.path("storage/docker/registry/v2")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn eventually(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let waiting = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
            panic!("{PROGRAM} at {} never {what}; its log:\n{log}", self.address);
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // It may have ended by itself, which the test has noticed then.
            let _ended = process.kill();
            let _status = process.wait();
        }
    }
}

/// Every file below a directory; none where there is no such directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// A way to `address` on which each connection brings so many bytes a second at most. It ends with the test's runtime.
pub(super) fn slow_link(address: SocketAddr, bytes_per_second: usize) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let link = listener.local_addr().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(far) = TcpStream::connect(address).await else { return };
                let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.into_split(), far.into_split());
                let asking = async {
                    let _end = tokio::io::copy(&mut from_near, &mut to_far).await;
                };
                let answering = async {
                    let mut chunk = vec![0; 64 << 10];
                    while let Ok(read @ 1..) = from_far.read(&mut chunk).await {
                        tokio::time::sleep(Duration::from_secs_f64(read as f64 / bytes_per_second as f64)).await;
                        if to_near.write_all(&chunk[..read]).await.is_err() {
                            return;
                        }
                    }
                };
                tokio::select! { () = asking => {}, () = answering => {} }
            });
        }
    });
    link
}
