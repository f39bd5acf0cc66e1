//! The tree against published vectors and against another implementation.

use std::collections::BTreeMap;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;

use super::*;

/// Leaves and roots of RFC 6962's reference implementation, in all languages' test suites since.
const LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];
const A: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const B: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const C: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
const D: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const E: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
const F: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";

fn hex(hash: &Hash) -> String {
    hash.as_bytes().iter().map(|b| format!("{b:02x}")).collect()
}

/// A tree with everything that was ever written of it.
#[derive(Default)]
struct Store {
    tree: Tree,
    tiles: BTreeMap<TileId, Tile>,
}

impl Store {
    fn of<L: AsRef<[u8]>>(leaves: impl IntoIterator<Item = L>) -> Self {
        let mut store = Self::default();
        for leaf in leaves {
            store.push(leaf.as_ref());
        }
        store
    }

    fn push(&mut self, leaf: &[u8]) {
        let mut full = Vec::new();
        self.tree.push(leaf_hash(leaf), &mut full);
        self.tiles.extend(full.into_iter().map(|t| (t.id(), t)));
    }

    fn read(&self, id: TileId) -> Result<Tile, TlogError> {
        let partial = self.tree.partial_tiles();
        let tile = partial.iter().find(|t| t.id() == id).or_else(|| self.tiles.get(&id.full()));
        Tile::parse(id, &tile.unwrap_or_else(|| panic!("{id} of {}", self.tree.size())).bytes())
    }

    fn reader(&self) -> TreeReader<impl FnMut(TileId) -> Result<Tile, TlogError>> {
        TreeReader::new(self.tree.size(), |id| self.read(id))
    }
}

#[test]
fn roots_are_the_published_ones() {
    for (size, root) in ROOTS.iter().enumerate() {
        let store = Store::of(&LEAVES[..size]);
        assert_eq!(hex(&store.tree.root()), *root, "{size}");
        assert_eq!(hex(&store.reader().root(store.tree.size()).expect("tiles")), *root);
    }
}

#[test]
fn paths_are_the_published_ones() {
    let hexes = |path: Vec<Hash>| path.iter().map(hex).collect::<Vec<_>>();
    for (index, size, path) in
        [(0, 8, &[A, B, C][..]), (5, 8, &[D, E, ROOTS[4]]), (2, 3, &[ROOTS[2]]), (1, 5, &[ROOTS[1], B, D]), (0, 1, &[])]
    {
        let store = Store::of(&LEAVES[..size]);
        assert_eq!(hexes(store.reader().inclusion(index).expect("tiles")), path, "{index} of {size}");
    }
    for (old, size, path) in [(1, 8, &[A, B, C][..]), (6, 8, &[F, E, ROOTS[4]]), (2, 5, &[B, D]), (8, 8, &[])] {
        let store = Store::of(&LEAVES[..size]);
        assert_eq!(hexes(store.reader().consistency(old).expect("tiles")), path, "{old} to {size}");
    }
}

fn numbered(size: u64) -> impl Iterator<Item = [u8; 8]> {
    (0..size).map(u64::to_be_bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Roots and proofs are those of another implementation, and each checks the other's.
    #[test]
    fn the_oracle_agrees(size in 1_u64..1500, at in any::<prop::sample::Index>(), from in any::<prop::sample::Index>()) {
        let store = Store::of(numbered(size));
        let mut oracle = MemoryBackedTree::<Sha256, [u8; 8]>::new();
        numbered(size).for_each(|leaf| oracle.push(leaf));
        let root = oracle.root();
        prop_assert_eq!(Hash::from_bytes((*root.as_bytes()).into()), store.tree.root());

        let index = at.index(usize::try_from(size).expect("small"));
        let path = store.reader().inclusion(index as u64).expect("tiles");
        let bytes: Vec<u8> = path.iter().flat_map(|h| *h.as_bytes()).collect();
        let theirs = oracle.prove_inclusion(index);
        prop_assert_eq!(theirs.as_bytes(), bytes.as_slice());
        let leaf = leaf_hash(&(index as u64).to_be_bytes());
        prop_assert_eq!(root_of_inclusion(&leaf, index as u64, size, &path), Some(store.tree.root()));

        let old = from.index(index + 1) + 1;
        let first = Store::of(numbered(old as u64));
        let path = store.reader().consistency(old as u64).expect("tiles");
        prop_assert!(is_consistent((old as u64, &first.tree.root()), (size, &store.tree.root()), &path));
        let bytes: Vec<u8> = path.iter().flat_map(|h| *h.as_bytes()).collect();
        let theirs = oracle.prove_consistency(usize::try_from(size).expect("small") - old);
        prop_assert_eq!(theirs.as_bytes(), bytes.as_slice());
    }

    /// Whatever is changed of a proof, it does not hold.
    #[test]
    fn a_changed_proof_does_not_hold(size in 2_u64..700, a in any::<u64>(), b in any::<u64>(), bit in 0_usize..256) {
        let store = Store::of(numbered(size));
        let (index, old, root) = (a % size, 1 + b % (size - 1), store.tree.root());
        let leaf = leaf_hash(&index.to_be_bytes());
        let path = store.reader().inclusion(index).expect("tiles");
        let first = Store::of(numbered(old)).tree.root();
        let steps = store.reader().consistency(old).expect("tiles");
        let flip = |hash: &Hash| {
            let mut bytes = *hash.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            Hash::from_bytes(bytes)
        };
        prop_assert_ne!(root_of_inclusion(&flip(&leaf), index, size, &path), Some(root));
        for other in [index.wrapping_sub(1), index + 1, index ^ 1] {
            prop_assert_ne!(root_of_inclusion(&leaf, other, size, &path), Some(root));
        }
        for i in 0..path.len() {
            let mut changed = path.clone();
            changed[i] = flip(&changed[i]);
            prop_assert_ne!(root_of_inclusion(&leaf, index, size, &changed), Some(root));
            changed.remove(i);
            prop_assert_ne!(root_of_inclusion(&leaf, index, size, &changed), Some(root));
        }
        prop_assert!(!is_consistent((old, &flip(&first)), (size, &root), &steps));
        prop_assert!(!is_consistent((old, &first), (size, &flip(&root)), &steps));
        for i in 0..steps.len() {
            let mut changed = steps.clone();
            changed[i] = flip(&changed[i]);
            prop_assert!(!is_consistent((old, &first), (size, &root), &changed));
        }
    }
}

/// Past three levels of tiles, at every size where one begins.
#[test]
fn a_tree_goes_on_from_its_tiles() {
    let mut store = Store::default();
    let mut sizes: Vec<u64> = vec![0, 1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 65_791, 65_792, 70_000];
    sizes.reverse();
    for leaf in numbered(70_001) {
        if sizes.last() == Some(&store.tree.size()) {
            sizes.pop();
            let resumed = Tree::resume(store.tree.size(), |id| store.read(id)).expect("tiles");
            let (size, root) = (store.tree.size(), store.tree.root());
            assert_eq!((resumed.size(), resumed.root()), (size, root));
            assert_eq!(resumed.partial_tiles(), store.tree.partial_tiles(), "{size}");
            store.tree = resumed;
        }
        store.push(&leaf);
    }
    assert_eq!(sizes, Vec::<u64>::new());
    for (id, tile) in &store.tiles {
        if let Some(above) = TileId::holding(id.level + 1, id.index, store.tree.size()) {
            let entry = usize::try_from(id.index % 256).expect("small");
            assert_eq!(store.read(above).expect("a tile").hashes()[entry], tile.root());
        }
    }
    for index in [0, 255, 256, 65_535, 65_536, 70_000] {
        let path = store.reader().inclusion(index).expect("tiles");
        let leaf = leaf_hash(&index.to_be_bytes());
        assert_eq!(root_of_inclusion(&leaf, index, 70_001, &path), Some(store.tree.root()));
    }
    assert_eq!(store.reader().inclusion(70_001), Err(TlogError::Outside { index: 70_001, size: 70_001 }));
}

/// The widths of the example in the specification of tlog-tiles.
#[test]
fn partial_tiles_are_those_of_the_specification() {
    let widths = |size| {
        let store = Store::of(numbered(size));
        store.tree.partial_tiles().iter().map(|t| t.id().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(widths(70_000), ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
    assert_eq!(widths(256), ["tile/1/000.p/1"]);
}

#[test]
fn a_proof_is_checked_with_the_key_alone() {
    let store = Store::of(LEAVES);
    let key = SigningKey::from_seed("example.com/log", &[9; 32]).expect("a key");
    let checkpoint = Checkpoint { origin: "example.com/log".to_owned(), size: 8, root: store.tree.root() };
    let proof = InclusionProof {
        extra: Some(LEAVES[5].to_vec()),
        index: 5,
        path: store.reader().inclusion(5).expect("tiles"),
        checkpoint: checkpoint.sign(&key),
    };
    let text = proof.to_string();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra QEFCQw==\nindex 5\n"), "{text}");
    let read = InclusionProof::parse(&text).expect("a proof");
    assert_eq!(read, proof);
    let keys = [key.verifier().clone()];
    assert_eq!(read.verify(LEAVES[5], &keys), Ok((checkpoint.clone(), &keys[0])));
    assert_eq!(read.verify(LEAVES[4], &keys), Err(TlogError::NotIncluded { index: 5 }));
    let other = SigningKey::from_seed("example.com/log", &[8; 32]).expect("a key");
    assert!(matches!(read.verify(LEAVES[5], &[other.verifier().clone()]), Err(TlogError::Unsigned { .. })));
    // A key that signs for another log does not speak for this one.
    let stranger = SigningKey::from_seed("example.com/other", &[7; 32]).expect("a key");
    let signed = InclusionProof { checkpoint: checkpoint.sign(&stranger), ..proof };
    assert!(matches!(signed.verify(LEAVES[5], &[stranger.verifier().clone()]), Err(TlogError::Checkpoint(_))));
    for wrong in [text.replace("@v1", "@v2"), text.replace("index 5", "index 05"), text.replace("\n\n", "\n")] {
        assert!(InclusionProof::parse(&wrong).is_err(), "{wrong}");
    }
}
