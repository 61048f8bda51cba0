//! As many strangers as there are places, who take them and then say nothing, in each way of saying nothing and on both ports:
//! honest callers who come anew with each callback are answered as if they were alone, and before-callbacks are allowed.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::hostile::CALLER_GIVES_UP;
use crate::size::{report, size};
use crate::support::bridge::{APP, Bridge, Home, free_ports};
use crate::support::certificates::Authority;
use crate::support::eventually;
use crate::support::kafka;
use crate::support::reader::consume;
use crate::support::schemas;

const WORKERS: usize = 2;
/// Of each worker, by the configuration.
const PLACES: usize = 40;
/// As many as there are places, with the 64 for those who have just come.
const STRANGERS: usize = WORKERS * (PLACES + 64);
/// Between two looks of the strangers whether they still have their places.
const LOOK: Duration = Duration::from_millis(10);
/// Who come at one look. All at once would be a flood, and not silence.
const AT_ONCE: usize = 20;

/// A way of being silent.
struct Way {
    name: &'static str,
    on: Port,
    says: &'static [u8],
}

#[derive(Clone, Copy, PartialEq)]
enum Port {
    Plain,
    /// The port with TLS, without a handshake.
    Raw,
    /// After a handshake.
    Tls,
}

const fn way(name: &'static str, on: Port, says: &'static [u8]) -> Way {
    Way { name, on, says }
}

const HALF_A_HEAD: &[u8] = b"POST /tencent?SdkAppid=1400000000 HTTP/1.1\r\nHost: bri";
const WAYS: [Way; 9] = [
    way("nothing", Port::Plain, b""),
    way("half a head", Port::Plain, HALF_A_HEAD),
    way(
        "a question for health",
        Port::Plain,
        b"GET / HTTP/1.1\r\nHost: bridge\r\n\r\n",
    ),
    way(
        "HTTP/2",
        Port::Plain,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ),
    way(
        "a wrong sender, and no body",
        Port::Plain,
        b"POST /tencent?SdkAppid=7 HTTP/1.1\r\nHost: bridge\r\nContent-Length: 1000\r\n\r\n{",
    ),
    way("nothing", Port::Raw, b""),
    way("half a hello", Port::Raw, b"\x16\x03\x01\x02\x00\x01\x00"),
    way("nothing", Port::Tls, b""),
    way("half a head", Port::Tls, HALF_A_HEAD),
];

/// Where the bridge is, and whom a client of its port with TLS trusts.
#[derive(Clone)]
struct There {
    plain: u16,
    tls: u16,
    config: Arc<ClientConfig>,
}

impl There {
    fn connect(&self, port: u16) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(CALLER_GIVES_UP * 2))?;
        Ok(stream)
    }

    fn handshake(&self) -> std::io::Result<rustls::StreamOwned<ClientConnection, TcpStream>> {
        let name = "localhost".try_into().expect("a name");
        let mut session = ClientConnection::new(Arc::clone(&self.config), name).expect("a client of rustls");
        let mut stream = self.connect(self.tls)?;
        session.complete_io(&mut stream)?;
        Ok(rustls::StreamOwned::new(session, stream))
    }

    /// A stranger; nothing where he is turned away at once.
    fn stranger(&self, way: &Way) -> Option<TcpStream> {
        let stream = match way.on {
            Port::Tls => {
                let mut stream = self.handshake().ok()?;
                stream.write_all(way.says).ok()?;
                stream.sock
            }
            on => {
                let mut stream = self.connect(if on == Port::Raw { self.tls } else { self.plain }).ok()?;
                stream.write_all(way.says).ok()?;
                stream
            }
        };
        stream.set_nonblocking(true).ok()?;
        Some(stream)
    }

    /// Posts over a new connection; gives how long it took.
    fn post(&self, with_tls: bool, command: &str, number: usize) -> Duration {
        let body = format!(r#"{{"GroupId":"g{}","Number":{number}}}"#, number % 8);
        let length = body.len();
        let request = format!(
            "POST /tencent?SdkAppid={APP}&CallbackCommand={command} HTTP/1.1\r\nHost: bridge\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let asked = Instant::now();
        let mut answer = String::new();
        let answered = if with_tls {
            let stream = self.handshake();
            stream.and_then(|mut stream| exchange(&mut stream, &request, &mut answer))
        } else {
            let stream = self.connect(self.plain);
            stream.and_then(|mut stream| exchange(&mut stream, &request, &mut answer))
        };
        let took = asked.elapsed();
        let good = answer.starts_with("HTTP/1.1 200") && answer.contains(r#""ErrorCode":0"#);
        assert!(good, "TLS {with_tls}, {command}: {answered:?} after {took:?}: {answer}");
        took
    }
}

fn exchange(stream: &mut (impl Read + Write), request: &str, answer: &mut String) -> std::io::Result<()> {
    stream.write_all(request.as_bytes())?;
    match stream.read_to_string(answer) {
        // The end of TLS is not always said.
        Err(cause) if cause.kind() != ErrorKind::UnexpectedEof => Err(cause),
        _ => Ok(()),
    }
}

/// Takes every place again and again, until the sender is dropped; gives how many strangers there were.
fn crowd(there: &There, way: &Way, stop: &Receiver<()>) -> usize {
    let (mut strangers, mut came) = (Vec::new(), 0);
    while stop.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        strangers.retain_mut(is_there);
        let missing = (STRANGERS - strangers.len()).min(AT_ONCE);
        strangers.extend((0..missing).filter_map(|_| there.stranger(way)));
        came += missing;
    }
    came
}

fn is_there(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 4096];
    match stream.read(&mut answer) {
        Ok(bytes) => bytes > 0,
        Err(cause) => cause.kind() == ErrorKind::WouldBlock,
    }
}

/// Honest callers for a while, on both ports, of both kinds; their times, in order.
fn honest(there: &There, before: &str, time: Duration, number: &mut usize) -> Vec<Duration> {
    let until = Instant::now() + time;
    let mut times = Vec::new();
    while Instant::now() < until {
        for (with_tls, command) in [
            (false, crate::hostile::COMMAND),
            (true, crate::hostile::COMMAND),
            (false, before),
            (true, before),
        ] {
            times.push(there.post(with_tls, command, *number));
            *number += 1;
        }
    }
    times.sort();
    times
}

fn start(home: &mut Home) -> (Bridge, There) {
    let authority = Authority::new("authority");
    authority.issue("bridge").write(home.path());
    let [port] = free_ports();
    let file = |name: &str| home.path().join(name).display().to_string();
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    home.set("SERVER__WORKERS", WORKERS.to_string());
    home.set("SERVER__MAX_CONNECTIONS", PLACES.to_string());
    home.set("SERVER__TLS__LISTEN", format!("127.0.0.1:{port}"));
    home.set("SERVER__TLS__CERT", cert);
    home.set("SERVER__TLS__KEY", key);
    let mut roots = RootCertStore::empty();
    let certificate = rustls::pki_types::CertificateDer::from_pem_slice(authority.pem.as_bytes());
    roots.add(certificate.expect("PEM")).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has both versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let there = There {
        plain: home.port,
        tls: port,
        config: Arc::new(config),
    };
    (home.start(), there)
}

#[test]
fn strangers_who_say_nothing_keep_no_place_from_an_honest_caller() {
    let mut home = Home::new("strangers");
    let before = schemas::add_before_command(&home.schemas());
    let (bridge, there) = start(&mut home);
    let time = Duration::from_secs(size("STRANGERS_S", 2, 60));
    let mut number = 0;
    let quiet = honest(&there, before, time, &mut number);
    for way in &WAYS {
        let (stop, stopped) = channel();
        let (times, came) = std::thread::scope(|scope| {
            let crowd = scope.spawn(|| {
                let stopped = stopped;
                crowd(&there, way, &stopped)
            });
            let times = honest(&there, before, time, &mut number);
            drop(stop);
            (times, crowd.join().expect("strangers do not panic"))
        });
        let port = if way.on == Port::Plain { "plain" } else { "TLS" };
        let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
        report(
            "strangers",
            &format!(
                "{} ({port}): {came} strangers for {} places; {} honest callbacks over new connections, median {median:.1?} (alone {:.1?}), slowest {slowest:.1?} (alone {:.1?})",
                way.name,
                STRANGERS,
                times.len(),
                quiet[quiet.len() / 2],
                quiet[quiet.len() - 1],
            ),
        );
        assert!(slowest < CALLER_GIVES_UP, "{}: {slowest:?}", way.name);
    }
    assert!(bridge.metric(&["imbridge_requests_refused_total", "crowded_out"]) > 0.0);
    eventually("all strangers to be gone", || {
        (bridge.metric(&["imbridge_connections "]) == 0.0).then_some(())
    });
    // One who is there when the bridge ends does not hold it up.
    let last: Vec<_> = WAYS.iter().filter_map(|way| there.stranger(way)).collect();
    bridge.settle();
    let told = Instant::now();
    assert!(bridge.terminate().success());
    assert!(
        told.elapsed() < Duration::from_secs(8),
        "the end took {:?}",
        told.elapsed()
    );
    drop(last);
    assert_eq!(consume(&kafka::shared(), &home.prefix, &home.schemas()).len(), number);
}
