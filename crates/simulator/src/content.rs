//! The bytes of a blob: held, on disk, or generated when they are read.
//!
//! Generated content costs no memory: a 1 GB layer is a 64 KiB block repeated, each copy stamped with its number so
//! that no two are alike. It is a valid (uncompressed) tar archive with one file, so a container runtime can unpack it.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use crate::digest::Digest;

const BLOCK: u64 = 64 * 1024;
const TAR_HEADER: u64 = 512;
/// Two empty records end an archive.
const TAR_END: u64 = 1024;

/// Hashing a gigabyte takes most of a second, and tests push the same image many times.
static DIGESTS: LazyLock<Mutex<HashMap<(u64, u64), Digest>>> = LazyLock::new(Mutex::default);

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Bytes(Bytes),
    Generated(Arc<Generated>),
    File {
        path: Arc<Path>,
        size: u64,
    },
    /// The beginning of something longer: what a storage holds that lost the rest.
    Beginning {
        of: Arc<Content>,
        size: u64,
    },
}

impl Content {
    pub(crate) fn generated(seed: u64, size: u64) -> Self {
        Self::Generated(Arc::new(Generated::new(seed, size)))
    }

    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Generated(generated) => generated.size,
            Self::File { size, .. } | Self::Beginning { size, .. } => *size,
        }
    }

    /// Up to `length` bytes from `offset`; fewer only at the end.
    pub(crate) async fn read(&self, offset: u64, length: u64) -> io::Result<Bytes> {
        let end = offset.saturating_add(length).min(self.size());
        match self {
            Self::Bytes(bytes) => Ok(bytes.slice(offset.min(end) as usize..end as usize)),
            Self::Generated(generated) => Ok(generated.read(offset, end)),
            Self::Beginning { of, .. } => Box::pin(of.read(offset, end.saturating_sub(offset))).await,
            Self::File { path, .. } => {
                let mut file = tokio::fs::File::open(path).await?;
                file.seek(io::SeekFrom::Start(offset)).await?;
                let mut bytes = vec![0; end.saturating_sub(offset) as usize];
                file.read_exact(&mut bytes).await?;
                Ok(bytes.into())
            }
        }
    }
}

/// Deterministic content: the same seed and size give the same bytes, on every machine.
#[derive(Debug)]
pub(crate) struct Generated {
    seed: u64,
    size: u64,
    header: Vec<u8>,
    body_end: u64,
    block: Vec<u8>,
}

impl Generated {
    pub(crate) fn new(seed: u64, size: u64) -> Self {
        // Too small for an archive: plain bytes.
        let (header, body_end) = match size.checked_sub(TAR_HEADER + TAR_END) {
            Some(room) => {
                let file_size = room / 512 * 512;
                (tar_header(seed, file_size), TAR_HEADER + file_size)
            }
            None => (Vec::new(), size),
        };
        let mut state = seed;
        let block = (0..BLOCK / 8).flat_map(|_| split_mix(&mut state).to_le_bytes()).collect();
        Self { seed, size, header, body_end, block }
    }

    pub(crate) fn digest(&self) -> Digest {
        let key = (self.seed, self.size);
        if let Some(known) = DIGESTS.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return known.clone();
        }
        let mut hash = Sha256::new();
        let mut offset = 0;
        while offset < self.size {
            let bytes = self.read(offset, (offset + 16 * BLOCK).min(self.size));
            offset += bytes.len() as u64;
            hash.update(&bytes);
        }
        let digest = Digest::finish(hash);
        DIGESTS.lock().unwrap_or_else(PoisonError::into_inner).insert(key, digest.clone());
        digest
    }

    fn read(&self, offset: u64, end: u64) -> Bytes {
        let body_start = self.header.len() as u64;
        let mut bytes = Vec::with_capacity(end.saturating_sub(offset) as usize);
        let mut at = offset;
        while at < end {
            if at < body_start {
                bytes.extend_from_slice(&self.header[at as usize..end.min(body_start) as usize]);
            } else if at < self.body_end {
                let in_body = at - body_start;
                let (number, within) = (in_body / BLOCK, in_body % BLOCK);
                let length = (BLOCK - within).min(end.min(self.body_end) - at);
                let copied = bytes.len();
                bytes.extend_from_slice(&self.block[within as usize..(within + length) as usize]);
                let stamp = (number ^ self.seed).to_le_bytes();
                for (place, byte) in stamp.iter().enumerate().skip(within as usize).take(length as usize) {
                    bytes[copied + place - within as usize] = *byte;
                }
            } else {
                bytes.resize(bytes.len() + (end - at) as usize, 0);
            }
            at = offset + bytes.len() as u64;
        }
        bytes.into()
    }
}

/// What SplitMix64 adds to its state at each step.
pub(crate) const SPLIT_MIX_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// One step of SplitMix64: small, fast and the same everywhere.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(SPLIT_MIX_STEP);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The header record of a regular file, in the ustar format.
fn tar_header(seed: u64, file_size: u64) -> Vec<u8> {
    let mut header = vec![0; TAR_HEADER as usize];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, &format!("layer-{seed:016x}"));
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    if file_size < 1 << 33 {
        put(124, &format!("{file_size:011o}\0"));
    }
    put(136, "00000000000\0");
    // The checksum counts its own field as spaces.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\0");
    put(263, "00");
    if file_size >= 1 << 33 {
        // Eleven octal digits end at 8 GiB; beyond that the field is a binary number, as GNU tar and PAX readers take it.
        header[124] = 0x80;
        header[128..136].copy_from_slice(&file_size.to_be_bytes());
    }
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn generated_content_is_the_same_however_it_is_cut() {
        let content = Content::generated(7, 3 * BLOCK + 700);
        let whole = content.read(0, u64::MAX).await.unwrap();
        assert_eq!(whole.len() as u64, content.size());
        let mut pieces = Vec::new();
        while (pieces.len() as u64) < content.size() {
            pieces.extend_from_slice(&content.read(pieces.len() as u64, 10_007).await.unwrap());
        }
        assert_eq!(pieces, whole);
        let Content::Generated(generated) = content else { unreachable!("generated above") };
        assert_eq!(generated.digest(), Digest::of(&whole));
    }

    #[test]
    fn no_two_blocks_and_no_two_seeds_are_alike() {
        let (one, other) = (Generated::new(1, 4 * BLOCK), Generated::new(2, 4 * BLOCK));
        let block =
            |of: &Generated, number: u64| of.read(TAR_HEADER + number * BLOCK, TAR_HEADER + number * BLOCK + 64);
        assert_ne!(block(&one, 0), block(&one, 1));
        assert_ne!(block(&one, 0), block(&other, 0));
        assert_ne!(one.digest(), other.digest());
    }

    #[test]
    fn a_file_beyond_eight_gibibytes_has_its_size_in_binary() {
        let size = 10_000_000_000_u64;
        let header = tar_header(1, size);
        assert_eq!((header[124], &header[128..136]), (0x80, &size.to_be_bytes()[..]));
        assert_eq!(&tar_header(1, (1 << 33) - 1)[124..136], b"77777777777\0");
    }

    #[test]
    fn generated_content_is_a_tar_archive_with_a_valid_checksum() {
        let header = tar_header(1, 1024);
        let sum: u32 = header
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { u32::from(b' ') } else { u32::from(*byte) })
            .sum();
        assert_eq!(&header[148..154], format!("{sum:06o}").as_bytes());
    }
}
