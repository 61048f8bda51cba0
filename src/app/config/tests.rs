//! Valid configurations, and the mistakes of operators.

use super::*;

mod secrets;

fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse("imbridge.toml", text, environment).map_err(|error| error.to_string())
}

const LEAST: &str = "[[tencent]]\nsdk_app_id = 1\n";

#[test]
fn the_smallest_configuration_is_one_sender() {
    let config = parse(LEAST, &[]).unwrap();
    assert_eq!(config.tencent[0].sdk_app_id, 1);
    assert_eq!(config.kafka.topic_prefix, "im");
    assert!(parse("", &[]).unwrap_err().contains("[[tencent]]"));
}

#[test]
fn an_error_names_file_key_value_and_what_is_allowed() {
    for (text, parts) in [
        ("[server]\nlisten = 'here'", ["server.listen", "here", "0.0.0.0:8080"]),
        ("[server]\nlisen = '0.0.0.0:1'", ["server", "lisen", "`listen`"]),
        ("[kafka]\npartitions = 'many'", ["kafka.partitions", "many", "i32"]),
        ("[kafka]\npartitions = 0", ["kafka.partitions", "0", "at least 1"]),
        (
            "[kafka]\nstall_timeout_s = 0",
            ["kafka.stall_timeout_s", "0", "at least 1"],
        ),
        (
            "[kafka.properties]\nacks = '1'",
            ["kafka.properties", "acks", "leave it out"],
        ),
        ("[spool]\nid = 'a b'", ["spool.id", "a b", "A-Z a-z 0-9"]),
        ("[log]\nformat = 'xml'", ["log.format", "xml", "`json`"]),
        (
            "[[openim]]\nname = 'a'\nsecret = 'literal'",
            ["openim[0].secret", "env:NAME", "file:/path"],
        ),
        (
            "[[openim]]\nname = 'a'\nsecret = 'env:NOT_SET_ANYWHERE'",
            ["secret", "NOT_SET_ANYWHERE", "not set"],
        ),
        ("[log]\nlevel = 'a=b'", ["log.level", "a=b", "warn"]),
        (
            "[schemas]\nregistry_url = 'registry:8081'",
            ["schemas.registry_url", "registry:8081", "http://host:port"],
        ),
        (
            "[schemas]\nauto_register = true",
            ["schemas.auto_register", "registry_url", "set"],
        ),
        (
            "[schemas]\nframing = 'single-object'\nregistry_url = 'http://a'",
            ["schemas.framing", "schemas.registry_url", "leave out one"],
        ),
        (
            "[schemas]\nframing = 'avro'",
            ["schemas.framing", "confluent", "single-object"],
        ),
        (
            "[schemas]\nlisten = '8081'",
            ["schemas.listen", "8081", "127.0.0.1:8081"],
        ),
        (
            "[schemas]\nregistry_url = 'http://a'\nregistry_timeout_ms = 0",
            ["schemas.registry_timeout_ms", "0", "at least 1"],
        ),
        (
            "[schemas]\nregistry_url = 'https://a'\nregistry_ca = '/nowhere.pem'",
            ["schemas.registry_ca", "/nowhere.pem", "PEM"],
        ),
        ("[server]\nlisten = ''", ["server.listen", "\"\"", "[server.tls]"]),
        (
            "[server]\nmax_head_bytes = 200000",
            ["server.max_head_bytes", "200000", "1024 to 131072"],
        ),
        ("[server.tls]\ncert = 'c'", ["server.tls", "missing", "`key`"]),
        (
            "[server.tls]\ncert = 'c'\nkey = 'k'\nlisten = 'here'",
            ["server.tls.listen", "here", "0.0.0.0:8443"],
        ),
        (
            "[server.tls]\ncert = 'c'\nkey = 'k'\nreload_s = 0",
            ["server.tls.reload_s", "0", "at least 1"],
        ),
        (
            "[server.tls]\ncert = '/nowhere.pem'\nkey = 'k'",
            ["server.tls.cert", "/nowhere.pem", "PEM"],
        ),
        (
            "[server.tls]\ncert = 'Cargo.toml'\nkey = 'Cargo.toml'",
            ["server.tls.cert", "Cargo.toml", "no certificate"],
        ),
        (
            "[server]\ntrusted_proxies = ['10.0.0.0/33']",
            ["server.trusted_proxies", "10.0.0.0/33", "10.0.0.0/8"],
        ),
        (
            "[server]\nproxy_header = 'x-real-ip'",
            ["server.proxy_header", "x-real-ip", "`x-forwarded-for`"],
        ),
        ("[admin]\ntoken = 'literal'", ["admin.token", "env:NAME", "file:/path"]),
        (
            "[[tencent]]\nsdk_app_id = 1\ntoken = ['file:Cargo.toml', 'literal']",
            ["tencent[0].token[1]", "env:NAME", "file:/path"],
        ),
        (
            "[[tencent]]\nsdk_app_id = 1\ntoken = []",
            ["tencent[0].token", "0 secrets", "one or two"],
        ),
        (
            "[[tencent]]\nsdk_app_id = 1\ntoken = 7",
            ["line 3 column 1: tencent[0].token", "not text", "env:NAME"],
        ),
        (
            "[[tencent]]\nsdk_app_id = 1\nallow = ['here']",
            ["tencent[0].allow", "here", "10.0.0.0/8"],
        ),
        (
            "[[openim]]\nname = 'a'\nallow = []",
            ["openim[0].allow", "[]", "at least one"],
        ),
        (
            "[[tencent]]\nsdk_app_id = 1\nrate_per_s = 0",
            ["tencent[0].rate_per_s", "0", "nonzero"],
        ),
        (
            "[[openim]]\nname = 'a'\nburst = 5",
            ["openim[0].burst", "5", "rate_per_s"],
        ),
        (
            "[[openim]]\nname = 'a'\nsignature = { secret = 'literal' }",
            ["openim[0].signature.secret", "env:NAME", "file:/path"],
        ),
        (
            "[[openim]]\nname = 'a'\nsignature = { secret = 'file:Cargo.toml', algorithm = 'rsa' }",
            ["openim[0].signature.algorithm", "rsa", "`hmac-sha256`"],
        ),
        (
            "[[openim]]\nname = 'a'\nsignature = { secret = 'file:Cargo.toml', nonce_header = 'X Nonce' }",
            ["openim[0].signature.nonce_header", "X Nonce", "A-Z a-z 0-9 -"],
        ),
        (
            "[[openim]]\nname = 'a'\nsignature = { secret = 'file:Cargo.toml', max_nonces = 0 }",
            ["openim[0].signature.max_nonces", "0", "at least 1"],
        ),
        ("not toml", ["TOML", "line 1 column 5", "="]),
    ] {
        let error = parse(&format!("{text}\n"), &[]).unwrap_err();
        assert!(error.starts_with("imbridge.toml"), "{error}");
        assert!(parts.iter().all(|part| error.contains(part)), "{text}\ngives\n{error}");
        assert!(!error.contains("literal"), "{error}");
    }
}

#[test]
fn every_key_can_come_from_the_environment() {
    let environment = [
        ("IMBRIDGE_SERVER__LISTEN", "127.0.0.1:1"),
        ("IMBRIDGE_KAFKA__PARTITIONS", "7"),
        ("IMBRIDGE_SPOOL__ID", "7"),
        ("IMBRIDGE_KAFKA__CREATE_TOPICS", "never"),
        ("IMBRIDGE_KAFKA__PROPERTIES__LINGER_MS", "20"),
        ("IMBRIDGE_TENCENT__0__MAX_CLOCK_SKEW_S", "5"),
        ("IMBRIDGE_OPENIM__0__NAME", "main"),
        ("IMBRIDGE_UNRELATED", "x"),
    ];
    let config = parse(LEAST, &environment).unwrap();
    assert_eq!(config.server.listen, "127.0.0.1:1");
    assert_eq!(config.kafka.partitions, 7);
    assert_eq!(config.spool.id, "7");
    assert_eq!(config.kafka.create_topics, publish::CreateTopics::Never);
    assert_eq!(config.kafka.properties.get("linger.ms"), Some("20"));
    assert_eq!(config.tencent[0].max_clock_skew_s, 5);
    assert_eq!(config.openim[0].name, "main");
    let error = parse(LEAST, &[("IMBRIDGE_KAFKA__PARTITIONS", "many")]).unwrap_err();
    assert!(
        error.contains("IMBRIDGE_KAFKA__PARTITIONS") && error.contains("i32"),
        "{error}"
    );
}

#[test]
fn senders_that_cannot_be_distinguished_are_refused() {
    let error = parse(&LEAST.repeat(2), &[]).unwrap_err();
    assert!(error.contains("twice"), "{error}");
    let error = parse("[[openim]]\nname = 'a'\n[[openim]]\nname = 'b'\n", &[]).unwrap_err();
    assert!(error.contains("no secret"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let secret = |name: &str, value: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, value).unwrap();
        format!("\"file:{}\"", file.display())
    };
    let (one, other) = (secret("one", "planted-1"), secret("other", "planted-2"));
    let two = |second: &str| {
        let text = format!(
            "[[openim]]\nname = \"a\"\nsecret = [{one}, {other}]\n[[openim]]\nname = \"b\"\nsecret = {second}\n"
        );
        parse(&text, &[]).map(drop)
    };
    let error = two(&other).unwrap_err();
    assert!(
        error.contains("openim[1].secret: \"a\" has it too") && !error.contains("planted"),
        "{error}"
    );
    assert_eq!(two(&secret("third", "planted-3")), Ok(()));
}

#[test]
fn a_secret_with_characters_that_a_url_may_change_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let given = |key: &str, value: &str| {
        std::fs::write(&file, value).unwrap();
        parse(
            &format!("[[openim]]\nname = \"a\"\n{key} = \"file:{}\"\n", file.display()),
            &[],
        )
        .map(drop)
    };
    for character in ["/", "+", "%", "%2F", "#", "?", " ", "ä", "="] {
        let wrong = &format!("pla{character}nted");
        let error = given("secret", wrong).unwrap_err();
        let parts = [
            "imbridge.toml: openim[0].secret",
            "A-Z a-z 0-9 - . _ ~",
            "openssl rand -hex 32",
        ];
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        assert!(!error.contains(wrong), "{error}");
    }
    assert_eq!(given("secret", "09afAFzZ-._~\n"), Ok(()));
    let error = given("basic_auth", "planted").unwrap_err();
    assert!(
        error.contains("openim[0].basic_auth") && error.contains("user:password"),
        "{error}"
    );
    assert_eq!(given("basic_auth", "user:pla/nted"), Ok(()));
}

#[test]
fn the_bridge_serves_its_schemas_unless_there_is_a_registry_or_listen_is_empty() {
    for (lines, listen) in [
        ("", Some("127.0.0.1:8081")),
        ("listen = ''", None),
        ("registry_url = 'http://a'", None),
        ("registry_url = 'http://a'\nlisten = '0.0.0.0:1'", Some("0.0.0.0:1")),
        ("framing = 'single-object'\nlisten = '[::1]:1'", Some("[::1]:1")),
    ] {
        let config = Config::parse("c", &format!("{LEAST}[schemas]\n{lines}\n"), []).unwrap();
        assert_eq!(config.schemas.listen(), listen, "{lines}");
    }
}

#[test]
fn registry_auth_is_user_and_password_and_is_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auth");
    let text = format!(
        "{LEAST}[schemas]\nregistry_url = \"http://a\"\nregistry_auth = \"file:{}\"\n",
        file.display()
    );
    std::fs::write(&file, "user:hush\n").unwrap();
    let config = parse(&text, &[]).unwrap();
    let registry = config.schemas.registry().unwrap();
    assert_eq!(registry.auth.as_deref(), Some("user:hush"));
    assert!(!format!("{config:?}{registry:?}").contains("hush"));
    std::fs::write(&file, "hush").unwrap();
    let error = parse(&text, &[]).unwrap_err();
    assert!(
        error.contains("schemas.registry_auth") && error.contains("user:password") && !error.contains("hush"),
        "{error}"
    );
}

#[test]
fn a_time_that_would_overflow_a_clock_is_refused() {
    for (table, key) in [
        ("server", "keep_alive_s"),
        ("server", "head_timeout_s"),
        ("server", "body_timeout_s"),
        ("server", "before_deadline_ms"),
        ("server", "shutdown_timeout_s"),
        ("spool", "commit_timeout_ms"),
        ("kafka", "stall_timeout_s"),
        ("kafka", "settle_ms"),
        ("shutdown", "drain_timeout_s"),
        ("shutdown", "leave_s"),
    ] {
        let text = format!("{LEAST}[{table}]\n{key} = {}\n", i64::MAX);
        let refusal = parse(&text, &[]).expect_err("the time is too long");
        assert!(
            refusal.contains(&format!("{table}.{key}")) && refusal.contains("is allowed"),
            "{refusal}"
        );
    }
}
