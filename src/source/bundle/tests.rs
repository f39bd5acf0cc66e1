//! Bundles as OPA has them: built, signed, opened, tampered with.

use std::fs;

use serde_json::json;

use super::*;
use crate::engine::{CompileOptions, JwsKey, JwsSigningKey, compile};
use crate::policy::Digest;
use crate::source::{LoadOptions, load};

const POLICY: &str = "# METADATA\n# scope: package\n# custom:\n#   enforcement: deny\n#   match: {kinds: [Pod]}\n\
                      package portcullis.p\n\ndeny contains \"no\" if input.request.name == data.p.name\n";

/// The data documents, written oddly: a signature is over what they mean.
const DATA: &str = "{\"p\": {\"z\": 1.0, \"name\": \"\\u00fc<\", \"e\": 1e3,\n\"n\": [true, null]}}";

fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(dir.path().join("lib/p")).expect("a directory");
    fs::write(dir.path().join("lib/p.rego"), POLICY).expect("written");
    fs::write(dir.path().join("lib/p_test.rego"), "package portcullis.p_test\n\ntest_a if true\n").expect("written");
    fs::write(dir.path().join("data.json"), DATA).expect("written");
    let binding =
        "apiVersion: portcullis.io/v1alpha1\nkind: PolicyBinding\nmetadata: {name: b}\nspec: {policyRef: {name: p}}\n";
    fs::write(dir.path().join("lib/binding.yaml"), binding).expect("written");
    fs::write(dir.path().join("values.yaml"), "read: by nobody\n").expect("written");
    dir
}

fn signing(key: &str) -> Signing {
    let key = JwsSigningKey::read(key).expect("a key");
    Signing { key, algorithm: None, key_id: Some("ci".to_owned()), scope: Some("write".to_owned()) }
}

fn verification(key: &str) -> Verification {
    Verification { key: JwsKey::read(key).expect("a key"), key_id: None, scope: Some("write".to_owned()) }
}

fn refusal(archive: &[u8], with: &Verification) -> String {
    Bundle::open("b.tar.gz", archive, Some(with)).expect_err("is refused").to_string()
}

/// The archive with one file changed, added or (`None`) removed.
fn tampered(archive: &[u8], path: &str, content: Option<&str>) -> Vec<u8> {
    let mut files = archive::unpack(archive).expect("unpacks");
    match content {
        Some(content) => files.insert(path.to_owned(), content.as_bytes().to_vec()),
        None => files.remove(path),
    };
    archive::pack(&files).expect("packs")
}

#[test]
fn a_bundle_and_its_directory_are_the_same_policy_set() {
    let dir = directory();
    let built = build(dir.path(), |m| m.revision = "r7".to_owned(), None).expect("builds");
    assert_eq!((built.files, built.left_out), (4, vec!["values.yaml".to_owned()]));
    let path = dir.path().join("b.tar.gz");
    fs::write(&path, &built.archive).expect("written");
    let set = |options: LoadOptions| -> (Digest, Digest) {
        let loaded = load(&options).expect("loads");
        let compiled = compile(&loaded.sources, CompileOptions::default()).expect("compiles");
        (compiled.snapshot.policy_set(), compiled.snapshot.data_digest())
    };
    let bundle = load(&LoadOptions { policies: vec![path.clone()], ..LoadOptions::default() }).expect("loads");
    assert_eq!(bundle.from, [format!("policies: {} (bundle, revision r7)", path.display())]);
    assert_eq!((bundle.sources.modules.len(), bundle.sources.bindings.len()), (2, 1));
    let packed = set(LoadOptions { policies: vec![path], ..LoadOptions::default() });
    let plain = LoadOptions {
        policies: vec![dir.path().join("lib")],
        data: vec![dir.path().join("data.json")],
        ..LoadOptions::default()
    };
    assert_eq!(packed, set(plain));
}

#[test]
fn a_signed_bundle_is_opened_and_a_tampered_one_is_not() {
    let dir = directory();
    let built = build(dir.path(), |m| m.revision = "r7".to_owned(), Some(&signing("secret"))).expect("builds");
    let archive = built.archive;
    let opened = Bundle::open("b", &archive, Some(&verification("secret"))).expect("opens");
    assert_eq!(opened.signed_by.as_deref(), Some("ci"));
    assert_eq!(opened.describe(), "policies: b (bundle, revision r7, signed by ci)");
    // The same data written otherwise is the same data; another number is not, although it is equal.
    let same = DATA.replace('\n', "  ").replace("\\u00fc", "ü");
    Bundle::open("b", &tampered(&archive, "data.json", Some(&same)), Some(&verification("secret"))).expect("opens");
    let with = verification("secret");
    for (archive, wanted) in [
        (tampered(&archive, "lib/p.rego", Some("package p")), "`lib/p.rego` in it is not what was signed"),
        (
            tampered(&archive, "data.json", Some(&DATA.replace("1e3", "1000"))),
            "`data.json` in it is not what was signed",
        ),
        (tampered(&archive, ".manifest", Some("{}")), "`.manifest` in it is not what was signed"),
        (tampered(&archive, "more.rego", Some("package more")), "`more.rego` in it is not signed"),
        (tampered(&archive, "lib/p_test.rego", None), "`lib/p_test.rego` is signed and not in it"),
        (tampered(&archive, ".signatures.json", None), "it is not signed"),
        (tampered(&archive, ".signatures.json", Some("{}")), "0 signatures"),
    ] {
        let error = refusal(&archive, &with);
        assert!(error.starts_with("b.tar.gz: the bundle is refused: ") && error.contains(wanted), "{error}");
    }
    assert!(refusal(&archive, &verification("other")).contains("its signature is not of the given key"));
    let scoped = Verification { scope: None, ..verification("secret") };
    assert!(refusal(&archive, &scoped).contains("signed for the scope `write`, not for ``"));
    let named = Verification { key_id: Some("prod".to_owned()), ..verification("secret") };
    assert!(refusal(&archive, &named).contains("signed with the key `ci`, not with `prod`"));
}

/// What JSON means, byte for byte as OPA's bundle signing hashes it: the digest of a canonical text.
#[test]
fn structured_files_are_hashed_as_opa_does() {
    let text = |name: &str, json: &str| {
        let files = Files::from([(name.to_owned(), json.as_bytes().to_vec())]);
        let signed = signature::sign(&files, &signing("secret")).expect("signs");
        let token = serde_json::from_slice::<Value>(&signed).expect("JSON")["signatures"][0].clone();
        let (_, payload) =
            JwsKey::read("secret").expect("a key").verify(token.as_str().expect("text")).expect("its own");
        let claims: Value = serde_json::from_slice(&payload).expect("JSON");
        claims["files"][0]["hash"].as_str().expect("text").to_owned()
    };
    for (name, json, canonical) in [
        ("a/data.yaml", "b: 1.0\na: [2.50, 1e21, 0.0000001, -3, x]\n", "{\"a\":[2.5,1e+21,1e-7,-3,\"x\"],\"b\":1}"),
        ("data.yaml", "{\"a\": 1.0}", "{\"a\":1.0}"),
        ("p.rego", "package  p\n", "package  p\n"),
        ("data.yml", "a:   1\n", "a:   1\n"),
        ("data.json", "{\"b\": 1, \"a\": [ 2.50, \"x\" ]}", "{\"a\":[2.50,\"x\"],\"b\":1}"),
        ("data.json", "{\"<&>\": \"\\u2028\\u0001\\u00e9\"}", "{\"<&>\":\"\\u2028\\u0001é\"}"),
        ("data.json", "123.456789111111111111111111111111111111", "123.456789111111111111111111111111111111"),
        ("data.json", "{\"a\": 1, \"a\": 2}", "{\"a\":2}"),
        ("data.json", " null ", "null"),
    ] {
        assert_eq!(text(name, json), Digest::of(canonical.as_bytes()).hex(), "{name}: {json}");
    }
}

/// A token of OPA's own tests (`v1/bundle/verify_test.go`): key `secret`, id `foo`, scope `write`.
#[test]
fn a_token_that_opa_made_verifies() {
    let token = concat!(
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImZvbyJ9.eyJmaWxlcyI6W3sibmFtZSI6ImRiL3VhbTIvZW50aXRsZW1lbnRzL2Rh",
        "dGEuanNvbiIsImhhc2giOiJjMjEzMTU0NGM3MTZhMjVhNWUzMWY1MDQzMDBmNTI0MGU4MjM1Y2FkYjlhNTdmMGJkMWI2ZjRiZDc0YjI2NjEy",
        "IiwiYWxnb3JpdGhtIjoic2hhMjU2In0seyJuYW1lIjoiZGIvdWFtMi9wb2xpY3kvb3BhLXBvbGljeS5yZWdvIiwiaGFzaCI6IjQyY2ZlNjc2",
        "OGI1N2JiNWY3NTAzYzE2NWMyOGRkMDdhYzViODEzNTU0ZWJjODUwZjJjYzM1ODQzZTcxMzdiMWQifV0sImlhdCI6MTU5MjI0ODAyNywiaXNz",
        "IjoiSldUU2VydmljZSIsInNjb3BlIjoid3JpdGUifQ.u7b_h88osJpU6VQLhIUmZjblsPNCO_kTqsVtpEAHavs",
    );
    let (header, payload) = JwsKey::read("secret\n").expect("a key").verify(token).expect("verifies");
    assert_eq!(header["kid"], "foo");
    let claims: Value = serde_json::from_slice(&payload).expect("JSON");
    assert_eq!((&claims["scope"], claims["files"].as_array().map(Vec::len)), (&json!("write"), Some(2)));
}

/// Another, RS256, with the public key that stands beside it there.
#[test]
fn a_token_that_opa_made_with_rsa_verifies() {
    let token = concat!(
        "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImZvbyJ9.eyJmaWxlcyI6W3sibmFtZSI6ImRiL3VhbTIvZW50aXRsZW1",
        "lbnRzL2RhdGEuanNvbiIsImhhc2giOiJjMjEzMTU0NGM3MTZhMjVhNWUzMWY1MDQzMDBmNTI0MGU4MjM1Y2FkYjlhNTdmMGJkMWI",
        "2ZjRiZDc0YjI2NjEyIiwiYWxnb3JpdGhtIjoic2hhMjU2In0seyJuYW1lIjoiZGIvdWFtMi9wb2xpY3kvb3BhLXBvbGljeS5yZWd",
        "vIiwiaGFzaCI6IjQyY2ZlNjc2OGI1N2JiNWY3NTAzYzE2NWMyOGRkMDdhYzViODEzNTU0ZWJjODUwZjJjYzM1ODQzZTcxMzdiMWQ",
        "ifV0sImlhdCI6MTU5MjI1MTQwNiwiaXNzIjoiSldUU2VydmljZSIsInNjb3BlIjoid3JpdGUifQ.UZcX_Qj29o213nwZ5mysiyNc",
        "gAp1AOqCkDLkj1KGZ7Cw3l17TbkF8t3FJd654sf762NGcABA0WQ2zxq-labXl_d5TKQmq23lurO3qLHI1cKQPyoxPbddGo78sJpM",
        "wWsiMyEYcyyKC9FpNUpa8cT81GPo4q9Zui8TAD0wtHh2YxBL7E8QYLJxcLMJTJxVBgrQGLXFT7vYRc6hJz9Vu-i0SWuLBGxOCmYo",
        "Hr4DWFfy0IhAbhiUFyLRpukfBPjCJNYY5LgaZdN6LaYivtIEUms5jUuXubBimLJm7KOT5-bgJMXTcUsbrbl2Ma7PwG5IOKjjgyEv",
        "H8KVfGFZSzNrpuxKmA",
    );
    let public = concat!(
        "-----BEGIN PUBLIC KEY-----\n",
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA9KaakMv1XKKDaSch3PFR\n",
        "3a27oaHp1GNTTNqvb1ZaHZXp+wuhYDwc/MTE67x9GCifvQBWzEGorgTq7aisiOyl\n",
        "vKifwz6/wQ+62WHKG/sqKn2Xikp3P63aBIPlZcHbkyyRmL62yeyuzYoGvLEYel+m\n",
        "z5SiKGBwviSY0Th2L4e5sGJuk2HOut6emxDi+E2Fuuj5zokFJvIT6Urlq8f3h6+l\n",
        "GeR6HUOXqoYVf7ff126GP7dticTVBgibxkkuJFmpvQSW6xmxruT4k6iwjzbZHY7P\n",
        "ypZ/TdlnuGC1cOpAVyU7k32IJ9CRbt3nwEf5U54LRXLLQjFixWZHwKdDiMTF4ws0\n",
        "+wIDAQAB\n",
        "-----END PUBLIC KEY-----\n",
    );
    let key = JwsKey::read(public).expect("a key");
    assert_eq!(key.verify(token).expect("verifies").0["alg"], "RS256");
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let other = signed.replace("eyJhbGciOiJSUzI1NiIs", "eyJhbGciOiJSUzM4NCIs");
    assert!(key.verify(&format!("{other}.{signature}")).is_err());
}

#[test]
fn every_kind_of_key_signs_and_only_its_own_verifies() {
    let pairs = [
        rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key"),
        rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key"),
        rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key"),
    ];
    let dir = directory();
    for (n, pair) in pairs.iter().enumerate() {
        let built = build(dir.path(), |_| (), Some(&signing(&pair.serialize_pem()))).expect("builds");
        for (m, other) in pairs.iter().enumerate() {
            let opened = Bundle::open("b", &built.archive, Some(&verification(&other.public_key_pem())));
            assert_eq!(opened.is_ok(), n == m, "{n} {m}: {opened:?}");
        }
        // The text of the public key is no secret to sign with.
        let forged = build(dir.path(), |_| (), Some(&Signing { algorithm: Some("HS256".to_owned()), ..signing("x") }));
        assert!(
            refusal(&forged.expect("builds").archive, &verification(&pair.public_key_pem()))
                .contains("not of the given key")
        );
        let error = JwsKey::read(&pair.serialize_pem()).expect_err("private").to_string();
        assert!(error.contains("give the public one"), "{error}");
    }
}

#[test]
fn roots_are_kept_and_do_not_overlap() {
    let dir = directory();
    let rooted = |roots: &[&str]| {
        let roots: Vec<String> = roots.iter().map(|r| (*r).to_owned()).collect();
        build(dir.path(), |m| m.roots = Some(roots), None)
    };
    let wrong =
        |roots: &[&str]| rooted(roots).expect_err("is refused").iter().map(ToString::to_string).collect::<Vec<_>>();
    let built = rooted(&["portcullis/p", "portcullis/p_test", "p"]).expect("builds");
    let errors = wrong(&["portcullis/p", "portcullis/p_test"]);
    assert!(errors.len() == 1 && errors[0].contains("do not hold the data at `p`"), "{errors:?}");
    let errors = wrong(&["p", "portcullis/p"]);
    assert!(
        errors.len() == 1 && errors[0].contains("lib/p_test.rego: ") && errors[0].contains("`portcullis/p_test`"),
        "{errors:?}"
    );
    assert!(wrong(&["p", "p/q"])[0].contains("overlap"));

    let (one, two) = (dir.path().join("one.tar.gz"), dir.path().join("two.tar.gz"));
    fs::write(&one, &built.archive).expect("written");
    let other = directory();
    fs::remove_dir_all(other.path().join("lib")).expect("removed");
    let whole =
        |root: &str| build(other.path(), |m| m.roots = Some(vec![root.to_owned()]), None).expect("builds").archive;
    fs::write(&two, whole("p")).expect("written");
    let options = LoadOptions { policies: vec![one, two.clone()], ..LoadOptions::default() };
    let errors = load(&options).expect_err("overlap");
    assert!(
        errors.iter().any(|e| e.message.contains("its root `p` overlaps with the root `p` of the bundle")),
        "{errors:?}"
    );
    fs::write(other.path().join("data.json"), "{\"q\": 1}").expect("written");
    fs::write(&two, whole("q")).expect("written");
    assert_eq!(load(&options).expect("loads").sources.data.len(), 2);
}

#[test]
fn the_manifest_says_which_rego_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("p.rego"), "package p\n\ndeny[msg] { msg := \"old\" }\n").expect("written");
    let path = dir.path().join("b.tar.gz");
    let compiles = |version: Option<u8>| {
        let built = build(dir.path(), |m| m.rego_version = version, None).expect("builds");
        fs::write(&path, built.archive).expect("written");
        let loaded = load(&LoadOptions { policies: vec![path.clone()], ..LoadOptions::default() }).expect("loads");
        compile(&loaded.sources, CompileOptions::default()).map(|_| ())
    };
    compiles(Some(0)).expect("is v0");
    assert!(compiles(None).expect_err("is v1")[0].message.contains("it is Rego v0"));
    assert!(compiles(Some(1)).is_err());
}
