//! A gzipped tar archive, unpacked in memory and within bounds. Knows nothing of what the files mean; writes nothing.

use std::collections::BTreeMap;
use std::io::{Read, Write as _};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// Largest archive as it is on disk or on the wire.
pub(in crate::source) const MAX_ARCHIVE_BYTES: usize = 64 << 20;

/// Largest file inside.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// All files inside together: a policy set with its data, many times over, and little enough for a container.
const MAX_UNPACKED_BYTES: u64 = 256 << 20;

/// Most files inside.
const MAX_FILES: usize = 16_384;

/// Files by their path: without a leading slash, without `.` and `..`.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// Unpacks an archive.
///
/// # Errors
/// What is wrong with it, as the end of a sentence about the bundle.
pub(super) fn unpack(archive: &[u8]) -> Result<Files, String> {
    if archive.len() > MAX_ARCHIVE_BYTES {
        return Err(format!("it has {} bytes; at most {MAX_ARCHIVE_BYTES} are read", archive.len()));
    }
    // The tar headers count too; one byte more than is allowed tells a full house from one too many.
    let bounded = MultiGzDecoder::new(archive).take(MAX_UNPACKED_BYTES + 1);
    let mut reader = tar::Archive::new(bounded);
    let broken = |e: std::io::Error| format!("it is not a whole `.tar.gz`: {e}");
    let mut files = Files::new();
    let mut total = 0;
    for entry in reader.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = String::from_utf8(entry.path_bytes().into_owned()).map_err(|_| "a path in it is not UTF-8")?;
        match entry.header().entry_type() {
            tar::EntryType::Directory | tar::EntryType::XGlobalHeader => continue,
            tar::EntryType::Regular | tar::EntryType::Continuous => {}
            kind => {
                return Err(format!("`{name}` in it is not a file but of type {kind:?}: pack the files themselves"));
            }
        }
        let path = clean(&name)?;
        total += entry.size();
        if entry.size() > MAX_FILE_BYTES {
            return Err(format!("`{path}` in it has {} bytes; at most {MAX_FILE_BYTES} are read", entry.size()));
        }
        if total > MAX_UNPACKED_BYTES || files.len() >= MAX_FILES {
            return Err(format!("unpacked it has more than {MAX_UNPACKED_BYTES} bytes or {MAX_FILES} files"));
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(broken)?;
        if files.insert(path.clone(), content).is_some() {
            return Err(format!("`{path}` is in it twice"));
        }
    }
    // What comes after the end of the archive is read as well: a gzip stream that is cut off or false is not whole.
    let mut rest = reader.into_inner();
    std::io::copy(&mut rest, &mut std::io::sink()).map_err(broken)?;
    if rest.limit() == 0 {
        return Err(format!("unpacked it has more than {MAX_UNPACKED_BYTES} bytes"));
    }
    Ok(files)
}

/// The path as it is meant: relative to the bundle.
fn clean(name: &str) -> Result<String, String> {
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(format!("the path `{name}` in it leads out of it")),
            part if part.contains(['\\', '\0']) => return Err(format!("the path `{name}` in it is not a plain one")),
            part => parts.push(part),
        }
    }
    if parts.is_empty() { Err(format!("the path `{name}` in it names no file")) } else { Ok(parts.join("/")) }
}

/// Packs files: the same files give the same bytes.
///
/// # Errors
/// A path that does not fit.
pub(super) fn pack(files: &Files) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(u64::try_from(content.len()).unwrap_or(u64::MAX));
        header.set_mode(0o644);
        header.set_mtime(0);
        builder.append_data(&mut header, path, content.as_slice())?;
    }
    let archive = builder.into_inner()?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&archive)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = tar::Header::new_ustar();
            // As somebody would who means ill: the crate itself refuses such paths.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, *content).expect("appended");
        }
        gzip(&builder.into_inner().expect("packed"))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("written");
        encoder.finish().expect("packed")
    }

    #[test]
    fn what_is_packed_comes_out_again_and_the_same_each_time() {
        let files = Files::from([("a/data.json".into(), b"{}".to_vec()), ("p.rego".into(), b"package p".to_vec())]);
        let archive = pack(&files).expect("packs");
        assert_eq!(archive, pack(&files).expect("packs"));
        assert_eq!(unpack(&archive).expect("unpacks"), files);
        let absolute = raw(&[("/./a//b.rego", tar::EntryType::Regular, b"x"), ("d/", tar::EntryType::Directory, b"")]);
        assert_eq!(unpack(&absolute).expect("unpacks").keys().collect::<Vec<_>>(), ["a/b.rego"]);
    }

    #[test]
    fn what_means_ill_is_refused() {
        let file = tar::EntryType::Regular;
        let mut cut = pack(&Files::from([("p.rego".into(), vec![b'x'; 5000])])).expect("packs");
        cut.truncate(cut.len() - 4);
        for (archive, wanted) in [
            (raw(&[("../../etc/passwd", file, b"x")]), "leads out of it"),
            (raw(&[("a/../../b", file, b"x")]), "leads out of it"),
            (raw(&[("a", tar::EntryType::Symlink, b"")]), "is not a file"),
            (raw(&[("a", tar::EntryType::Link, b"")]), "is not a file"),
            (raw(&[("./", file, b"x")]), "names no file"),
            (raw(&[("a", file, b"x"), ("./a", file, b"y")]), "is in it twice"),
            (b"PK\x03\x04".to_vec(), "not a whole `.tar.gz`"),
            (cut, "not a whole `.tar.gz`"),
            (vec![0; MAX_ARCHIVE_BYTES + 1], "at most"),
        ] {
            let error = unpack(&archive).expect_err(wanted);
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn a_small_archive_does_not_become_a_large_one() {
        // A header that promises more than is there, a true bomb within the tar, and one behind its end.
        let mut header = tar::Header::new_ustar();
        header.set_path("data.json").expect("fits");
        header.set_size(MAX_FILE_BYTES + 1);
        header.set_cksum();
        let error = unpack(&gzip(header.as_bytes())).expect_err("too large");
        assert!(error.contains("at most"), "{error}");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&[0; 1024]).expect("the end of an archive");
        let zeros = vec![0; 1 << 20];
        for _ in 0..=(MAX_UNPACKED_BYTES >> 20) {
            encoder.write_all(&zeros).expect("written");
        }
        let bomb = encoder.finish().expect("packed");
        assert!(bomb.len() < 4 << 20);
        let error = unpack(&bomb).expect_err("too large");
        assert!(error.contains("more than"), "{error}");
    }
}
