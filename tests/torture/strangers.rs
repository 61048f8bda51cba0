//! As many unknown clients as there are connections allowed open them and stay silent, in several ways and on both
//! ports. Honest callers that open a new connection for each callback are answered as if they were alone, and
//! before-callbacks are allowed.

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
/// Connections of each worker, by the configuration.
const PLACES: usize = 40;
/// As many as there may be connections, with 64 more for new ones at each worker.
const STRANGERS: usize = WORKERS * (PLACES + 64);
/// How often the strangers check whether their connections are still open.
const CHECK_EVERY: Duration = Duration::from_millis(10);
/// How many connect at each check. All at once would be a flood.
const AT_ONCE: usize = 20;

/// A way to be silent.
struct Way {
    name: &'static str,
    on: Port,
    sends: &'static [u8],
}

#[derive(Clone, Copy, PartialEq)]
enum Port {
    Plain,
    /// The port with TLS, without a handshake.
    Raw,
    /// After a handshake.
    Tls,
}

const fn way(name: &'static str, on: Port, sends: &'static [u8]) -> Way {
    Way { name, on, sends }
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

/// The bridge's ports, and the configuration of a client for its TLS port.
#[derive(Clone)]
struct Ports {
    plain: u16,
    tls: u16,
    config: Arc<ClientConfig>,
}

impl Ports {
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

    /// Connects a stranger; `None` if the connection is closed at once.
    fn stranger(&self, way: &Way) -> Option<TcpStream> {
        let stream = match way.on {
            Port::Tls => {
                let mut stream = self.handshake().ok()?;
                stream.write_all(way.sends).ok()?;
                stream.sock
            }
            on => {
                let mut stream = self.connect(if on == Port::Raw { self.tls } else { self.plain }).ok()?;
                stream.write_all(way.sends).ok()?;
                stream
            }
        };
        stream.set_nonblocking(true).ok()?;
        Some(stream)
    }

    /// Posts over a new connection. Returns how long it took.
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
        // The end of a TLS connection is not always announced.
        Err(cause) if cause.kind() != ErrorKind::UnexpectedEof => Err(cause),
        _ => Ok(()),
    }
}

/// Keeps all connections taken until the sender is dropped. Returns how many strangers there were.
fn crowd(ports: &Ports, way: &Way, stop: &Receiver<()>) -> usize {
    let (mut strangers, mut came) = (Vec::new(), 0);
    while stop.recv_timeout(CHECK_EVERY) == Err(RecvTimeoutError::Timeout) {
        strangers.retain_mut(is_open);
        let missing = (STRANGERS - strangers.len()).min(AT_ONCE);
        strangers.extend((0..missing).filter_map(|_| ports.stranger(way)));
        came += missing;
    }
    came
}

fn is_open(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 4096];
    match stream.read(&mut answer) {
        Ok(bytes) => bytes > 0,
        Err(cause) => cause.kind() == ErrorKind::WouldBlock,
    }
}

/// Posts honest callbacks for a while, on both ports and of both kinds. Returns how long each took, in ascending order.
fn honest(ports: &Ports, before: &str, time: Duration, number: &mut usize) -> Vec<Duration> {
    let until = Instant::now() + time;
    let mut times = Vec::new();
    while Instant::now() < until {
        for (with_tls, command) in [
            (false, crate::hostile::COMMAND),
            (true, crate::hostile::COMMAND),
            (false, before),
            (true, before),
        ] {
            times.push(ports.post(with_tls, command, *number));
            *number += 1;
        }
    }
    times.sort();
    times
}

fn start(home: &mut Home) -> (Bridge, Ports) {
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
    let ports = Ports {
        plain: home.port,
        tls: port,
        config: Arc::new(config),
    };
    (home.start(), ports)
}

#[test]
fn silent_strangers_take_no_connection_from_an_honest_caller() {
    let mut home = Home::new("strangers");
    let before = schemas::add_before_command(&home.schemas());
    let (bridge, ports) = start(&mut home);
    let time = Duration::from_secs(size("STRANGERS_S", 2, 60));
    let mut number = 0;
    let quiet = honest(&ports, before, time, &mut number);
    for way in &WAYS {
        let (stop, stopped) = channel();
        let (times, came) = std::thread::scope(|scope| {
            let crowd = scope.spawn(|| {
                let stopped = stopped;
                crowd(&ports, way, &stopped)
            });
            let times = honest(&ports, before, time, &mut number);
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
    // Strangers that are connected when the bridge ends do not delay its end.
    let last: Vec<_> = WAYS.iter().filter_map(|way| ports.stranger(way)).collect();
    bridge.settle();
    let asked = Instant::now();
    assert!(bridge.terminate().success());
    assert!(
        asked.elapsed() < Duration::from_secs(8),
        "the end took {:?}",
        asked.elapsed()
    );
    drop(last);
    assert_eq!(consume(&kafka::shared(), &home.prefix, &home.schemas()).len(), number);
}
