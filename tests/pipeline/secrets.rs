//! Secrets are planted in every place that takes one, sent rightly and wrongly, and then searched for in everything
//! that the bridge prints.

use imbridge::app::Config;
use serde_json::json;

use crate::support::bridge::{APP, Home, free_ports};
use crate::support::certificates::Authority;
use crate::support::eventually;
use crate::support::https::Https;

/// Each secret is in an environment variable of its own name.
const PLANTED: [(&str, &str); 11] = [
    ("TOKEN_NEW", "planted-token-new"),
    ("TOKEN_OLD", "planted-token-old"),
    ("PATH_NEW", "planted-path-new"),
    ("PATH_OLD", "planted-path-old"),
    ("BASIC_NEW", "user:planted-basic-new"),
    ("BASIC_OLD", "user:planted-basic-old"),
    ("HMAC_NEW", "planted-hmac-new"),
    ("HMAC_OLD", "planted-hmac"),
    ("ADMIN_NEW", "planted-admin-new"),
    ("ADMIN_OLD", "planted-admin-old"),
    ("SASL", "planted-sasl-password"),
];
/// For the nonce `n-1` under `planted-hmac`, computed with Python's hmac and SHA-256.
const HMAC: &str = "9da6f6c982b08f501f9d3b12aceb38f9a19c82cdbfa02d4af2ab8b368cb3adf5";
/// The forms in which these secrets are sent, which must not be printed either.
const SENT: [&str; 6] = [
    "planted-wrong",
    "planted-body",
    HMAC,
    "dXNlcjpwbGFudGVkLWJhc2ljLW9sZA==",
    "n-1",
    "17773bc39a671d7b9aa835458704d2a6db81360a5940292b587d6d760d484061",
];

/// A Kafka property whose value stands in the configuration itself.
const LITERAL: &str = "planted-literal";

const SENDERS: &str = r#"
[[tencent]]
sdk_app_id = 1400000001
token = ["env:TOKEN_NEW", "env:TOKEN_OLD"]

[[openim]]
name = "basic"
secret = ["env:PATH_NEW", "env:PATH_OLD"]
basic_auth = ["env:BASIC_NEW", "env:BASIC_OLD"]

[openim.signature]
secret = ["env:HMAC_NEW", "env:HMAC_OLD"]

[admin]
token = ["env:ADMIN_NEW", "env:ADMIN_OLD"]

[kafka.properties]
"security.protocol" = "SASL_PLAINTEXT"
"sasl.mechanism" = "PLAIN"
"sasl.username" = "bridge"
"sasl.password" = "env:SASL"
"#;

/// What a developer sees who prints the configuration, also for a password that stands in it.
fn config_in_debug_form() -> String {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for (name, secret) in PLANTED {
        std::fs::write(folder.path().join(name), secret).expect("a temporary folder is writable");
    }
    let text = SENDERS.replace("env:", &format!("file:{}/", folder.path().display()));
    let literal = ("IMBRIDGE_KAFKA__PROPERTIES__SSL_KEY_PASSWORD", LITERAL);
    let environment = std::iter::once((literal.0.to_owned(), literal.1.to_owned()));
    let config = Config::parse("planted.toml", &text, environment).expect("it is well");
    let printed = format!("{config:?}");
    assert!(
        printed.contains("sasl.password") && printed.contains("ssl.key.password"),
        "{printed}"
    );
    printed
}

#[test]
fn planted_secrets_are_never_printed() {
    let authority = Authority::new("authority");
    let pair = authority.issue("bridge");
    let mut home = Home::with_brokers("planted", "127.0.0.1:1");
    home.configure(SENDERS);
    for (name, secret) in PLANTED {
        home.environment(name, secret);
    }
    let [port] = free_ports();
    pair.write(home.path());
    home.set("SERVER__TLS__LISTEN", format!("127.0.0.1:{port}"));
    home.set("SERVER__TLS__CERT", home.path().join("cert.pem").display().to_string());
    home.set("SERVER__TLS__KEY", home.path().join("key.pem").display().to_string());
    home.set("SERVER__TLS__RELOAD_S", "1");
    home.set("LOG__LEVEL", "trace");
    let bridge = home.start();
    let mut printed = Vec::new();

    let mut https = Https::new(port, &authority.pem);
    let signed =
        |sign: &str| format!("/tencent?SdkAppid=1400000001&CallbackCommand=A&Sign={sign}&RequestTime=1669872112");
    let headers = |basic: &str, signature: &str| json!({"authorization": format!("Basic {basic}"), "x-nonce": "n-1", "x-signature": signature});
    let requests = [
        (signed(SENT[5]), json!({}), 403),
        (
            format!("/tencent?SdkAppid={APP}&CallbackCommand=A"),
            json!({"x-secret": "planted-wrong"}),
            400,
        ),
        ("/openim/planted-wrong/callbackX".to_owned(), json!({}), 404),
        (
            "/openim/planted-path-new/callbackX".to_owned(),
            headers("cGxhbnRlZC13cm9uZw==", HMAC),
            401,
        ),
        (
            "/openim/planted-path-new/callbackX".to_owned(),
            headers(SENT[3], "planted-wrong"),
            403,
        ),
        (
            "/openim/planted-path-old/callbackX".to_owned(),
            headers(SENT[3], HMAC),
            400,
        ),
        (
            "/openim/planted-path-old/callbackX".to_owned(),
            headers(SENT[3], HMAC),
            403,
        ),
    ];
    // At the second attempt, the nonce is not new.
    for repeated in [false, true] {
        for (path, headers, status) in &requests {
            // The connections of unknown senders are closed.
            assert_eq!(https.open("sender", None)["protocol"], "http/1.1");
            let answer = https.post("sender", path, headers, "\"planted-body");
            let status = if repeated && headers["x-signature"] == HMAC && *status == 400 {
                403
            } else {
                *status
            };
            assert_eq!(answer["status"], status, "{path}: {answer}");
            printed.push(answer.to_string());
        }
    }
    std::fs::write(home.path().join("key.pem"), pair.key.replace("PRIVATE", "PLANTED")).unwrap();
    eventually("the bad key", || {
        bridge.log().contains("the old certificate stays in use").then_some(())
    });

    for (authorization, status) in [
        (None, 401),
        (Some("Bearer planted-wrong"), 401),
        (Some("Bearer planted-admin-new"), 200),
        (Some("Bearer planted-admin-old"), 200),
        // x:planted-admin-old
        (Some("Basic eDpwbGFudGVkLWFkbWluLW9sZA=="), 200),
    ] {
        for path in ["/metrics", "/status.json", "/", "/page.js"] {
            let headers: Vec<_> = authorization.iter().map(|value| ("Authorization", *value)).collect();
            let mut connection = crate::support::client::Connection::open(home.admin_port).expect("it listens");
            let answer = connection.request("GET", path, &headers, b"").expect("an answer");
            assert_eq!(answer.status, status, "{path} {authorization:?}: {}", answer.body);
            printed.push(answer.body);
        }
    }
    for probe in ["/livez", "/readyz"] {
        let (status, body) = bridge.admin(probe).expect("probes need no token");
        assert_eq!(status, 200);
        printed.push(body);
    }
    // An invalid file, first for a reload and then for `check`.
    let whole = std::fs::read_to_string(home.config()).expect("it was written");
    let misspelt = whole.replace("\"sasl.password\"", "\"sasl.pasword\"");
    let literal = whole.replace("\"env:SASL\"", LITERAL);
    for (failures, text) in [(1, misspelt), (2, literal)] {
        std::fs::write(home.config(), &text).expect("a temporary folder is writable");
        bridge.signal("HUP");
        eventually("the reload to fail", || {
            (bridge.log().matches("the reload failed").count() == failures).then_some(())
        });
        let output = home.command("check").output().expect("the program was built");
        assert_eq!(output.status.code(), Some(64));
        printed.push(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned());
    }
    std::fs::write(home.config(), whole).expect("a temporary folder is writable");
    printed.push(bridge.log());
    home.set("SHUTDOWN__DRAIN_TIMEOUT_S", "0");
    drop(bridge);
    std::fs::write(home.path().join("key.pem"), &pair.key).unwrap();
    for verb in ["check", "serve --nonsense"] {
        let output = home.command(verb).output().expect("the program was built");
        printed.push(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned());
    }

    printed.push(config_in_debug_form());

    let printed = printed.join("\n");
    assert!(
        printed.contains("reason=\"signature\"") && printed.contains("rustls::"),
        "it was as talkative as it can be"
    );
    let key_line = pair.key.lines().nth(1).expect("a key has lines").to_owned();
    let secrets = PLANTED.iter().map(|(_, secret)| secret.trim_start_matches("user:"));
    for secret in secrets.chain(SENT).chain([key_line.as_str(), LITERAL]) {
        let line = printed.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} is printed: {line:?}");
    }
}
