//! Input: method, path, query, `Authorization` and `Operationid`, each on a line. A sender is verified or refused. Without the
//! instance's secret it is never accepted, and no refusal contains a secret.

use bytes::Bytes;
use imbridge::callback::{Callback, Provider};
use imbridge::provider::{Refusal, RequestLine, Verified};

use super::{NOW_MS, SECRET, WORLD, is_json};

pub fn run(data: &[u8]) {
    // The HTTP server passes only texts.
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(5, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let [method, path, query, authorization, operation_id] = std::array::from_fn(|_| next());
    let header = |name: &str| match name {
        "authorization" => Some(authorization),
        "operationid" => Some(operation_id),
        _ => None,
    };
    let line = RequestLine {
        method,
        path,
        query,
        client: None,
        header: &header,
    };
    match WORLD.providers.verify(&line, NOW_MS) {
        Ok(sender) => accepted(&line, sender),
        Err(refusal) => refused(text, &refusal),
    }
}

fn accepted(line: &RequestLine<'_>, sender: Verified) {
    assert_eq!(line.method, "POST");
    let callback = sender.callback(Bytes::from_static(b"{}"), NOW_MS);
    let head = &callback.head;
    match (head.provider, head.app.as_str()) {
        (Provider::Tencent, "1400000000") | (Provider::OpenIm, "open") => {}
        (Provider::Tencent, "1400000001") => {
            assert!(line.query.len() > 64, "signed by {:?}", line.query);
        }
        (Provider::OpenIm, "hidden") => {
            assert!(line.path.split('/').any(|segment| segment == SECRET), "{}", line.path);
        }
        other => panic!("{other:?} is not configured"),
    }
    let (label, rule) = WORLD.providers.known(head);
    assert!(label == "unknown" || head.command.as_deref() == Some(label));
    assert!(is_json(&WORLD.providers.success(&callback, rule)));
    assert_eq!(
        Callback::from_record(&callback.to_record().into()).expect("a record"),
        callback
    );
}

fn refused(text: &str, refusal: &Refusal) {
    assert!([401, 403, 404, 405].contains(&refusal.status), "{refusal:?}");
    assert!(is_json(&refusal.body()));
    assert!(
        text.contains(SECRET) || !refusal.message.contains(SECRET),
        "{refusal:?}"
    );
    assert!(refusal.message.len() <= text.len() + 256, "{refusal:?}");
}
