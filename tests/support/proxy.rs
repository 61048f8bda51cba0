//! A bad network between the bridge and one broker: delay, low bandwidth, broken connections, lost requests and lost
//! answers. Of Kafka's protocol it knows only that a request is a length of four bytes, followed by two bytes with its
//! kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::bridge::free_ports;
use super::kafka::Kafka;

/// A kind of request: its first two bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    Produce = 0,
    CreateTopics = 19,
    /// The end of a transaction.
    EndTxn = 26,
}

/// What happens to requests of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// They are lost, and everything else passes.
    Request,
    /// They arrive, but their connection returns nothing any more.
    Answer,
}

/// The way between a client and a cluster: a proxy before each node.
pub struct Detour {
    /// The address for the client.
    pub brokers: String,
    proxies: Vec<Proxy>,
}

/// How a client is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutOff {
    /// Connections break, also new ones.
    Resets,
    /// Nothing passes in either direction, but connections stay open.
    Silence,
}

impl Detour {
    /// Starts proxies. Each pair has the port of a proxy and that of its node.
    pub fn start(ways: Vec<(u16, u16)>) -> Detour {
        let brokers: Vec<_> = ways.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect();
        Detour {
            brokers: brokers.join(","),
            proxies: ways.iter().map(|(port, broker)| Proxy::start(*port, *broker)).collect(),
        }
    }

    /// Cuts the client off from the whole cluster, until [`Detour::restore`].
    pub fn cut_off(&self, how: CutOff) {
        for proxy in &self.proxies {
            match how {
                CutOff::Resets => {
                    proxy.network.away.store(true, Ordering::Relaxed);
                    proxy.cut();
                }
                CutOff::Silence => proxy.slow(FOR_EVER, 0),
            }
        }
    }

    /// Lets the client connect again.
    pub fn restore(&self) {
        for proxy in &self.proxies {
            proxy.network.away.store(false, Ordering::Relaxed);
            proxy.slow(Duration::ZERO, 0);
            proxy.cut();
        }
    }

    /// Delays each direction to every node.
    pub fn slow(&self, delay: Duration) {
        self.proxies.iter().for_each(|proxy| proxy.slow(delay, 0));
    }
}

/// A delay that no test waits for.
const FOR_EVER: Duration = Duration::from_secs(86_400);
/// Stands for no kind of request, so that no answer is lost.
const NONE: u8 = u8::MAX;
/// How many pieces can be between the reader and the writer of a direction: the data on the wire.
const ON_THE_WIRE: usize = 64;

/// The state of the network. Changes apply at once, also to open connections.
struct Network {
    delay_ms: AtomicU64,
    bytes_per_s: AtomicU64,
    /// The kinds of request that are lost, and those whose answers are lost.
    lost: [AtomicU8; 2],
    losses: AtomicU64,
    /// The number of requests by kind.
    requests: [AtomicU64; 256],
    connections: AtomicU64,
    /// New connections break at once.
    away: AtomicBool,
}

/// A running proxy. It runs until the test program exits.
pub struct Proxy {
    network: Arc<Network>,
    cut: watch::Sender<u64>,
}

/// A broker that clients can only reach through a proxy.
pub fn behind_a_proxy(name: &str) -> (Kafka, Proxy) {
    let [port] = free_ports();
    let advertised = format!("advertised.listeners=PLAINTEXT://127.0.0.1:{port}");
    let mut kafka = Kafka::create(name, 1, &[&advertised]);
    let (_, broker) = kafka.brokers.rsplit_once(':').expect("a host and a port");
    let proxy = Proxy::start(port, broker.parse().expect("a port"));
    kafka.brokers = format!("127.0.0.1:{port}");
    (kafka, proxy)
}

impl Proxy {
    /// Listens on `port` and forwards to `broker`, on a thread of its own. If the broker is not running yet,
    /// connections break.
    pub fn start(port: u16, broker: u16) -> Proxy {
        let listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let (cut, cuts) = watch::channel(0);
        let network = Arc::new(Network {
            delay_ms: AtomicU64::new(0),
            bytes_per_s: AtomicU64::new(0),
            lost: [const { AtomicU8::new(NONE) }; 2],
            losses: AtomicU64::new(0),
            requests: [const { AtomicU64::new(0) }; 256],
            connections: AtomicU64::new(0),
            away: AtomicBool::new(false),
        });
        let shared = Arc::clone(&network);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the operating system gives an event queue");
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("it is non-blocking");
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(connection(client, broker, Arc::clone(&shared), cuts.clone()));
                }
            });
        });
        Proxy { network, cut }
    }

    /// Delays each direction and limits its rate; 0 for no limit.
    pub fn slow(&self, delay: Duration, bytes_per_s: u64) {
        self.network.delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
        self.network.bytes_per_s.store(bytes_per_s, Ordering::Relaxed);
    }

    /// Breaks every open connection, with the data in flight.
    pub fn cut(&self) {
        self.cut.send_modify(|count| *count += 1);
    }

    /// Loses requests of this kind, or their answers, until [`Proxy::lose_nothing`].
    pub fn lose(&self, request: Request, loss: Loss) {
        self.network.lost[loss as usize].store(request as u8, Ordering::Relaxed);
    }

    /// Lets everything pass. A connection whose answer was lost still returns nothing.
    pub fn lose_nothing(&self) {
        self.network
            .lost
            .iter()
            .for_each(|lost| lost.store(NONE, Ordering::Relaxed));
    }

    /// The number of lost requests and lost answers.
    pub fn lost(&self) -> u64 {
        self.network.losses.load(Ordering::Relaxed)
    }

    /// The number of requests of this kind, including lost ones.
    pub fn requests(&self, request: Request) -> u64 {
        self.network.requests[request as usize].load(Ordering::Relaxed)
    }

    /// The number of connections so far.
    pub fn connections(&self) -> u64 {
        self.network.connections.load(Ordering::Relaxed)
    }
}

async fn connection(client: TcpStream, broker: u16, network: Arc<Network>, mut cuts: watch::Receiver<u64>) {
    cuts.mark_unchanged();
    if network.away.load(Ordering::Relaxed) {
        client.set_zero_linger().ok();
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", broker)).await else {
        return;
    };
    network.connections.fetch_add(1, Ordering::Relaxed);
    for stream in [&client, &server] {
        stream.set_nodelay(true).ok();
        // If data are unread, a closed socket sends a reset instead.
        stream.set_zero_linger().ok();
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mute = AtomicBool::new(false);
    let requests = async {
        let (wire, out) = mpsc::channel(ON_THE_WIRE);
        tokio::try_join!(
            read_requests(from_client, wire, &network, &mute),
            write(to_server, out, &network)
        )
    };
    let answers = async {
        let (wire, out) = mpsc::channel(ON_THE_WIRE);
        tokio::try_join!(read_answers(from_server, wire, &mute), write(to_client, out, &network))
    };
    tokio::select! {
        _ = requests => {}
        _ = answers => {}
        _ = cuts.changed() => {}
    }
}

type Piece = (Instant, Vec<u8>);

/// Forwards answers until one of them is to be lost.
async fn read_answers(mut from: OwnedReadHalf, wire: mpsc::Sender<Piece>, mute: &AtomicBool) -> std::io::Result<()> {
    loop {
        let mut piece = vec![0; 16 << 10];
        let count = from.read(&mut piece).await?;
        piece.truncate(count);
        if count == 0 {
            return Ok(());
        }
        if !mute.load(Ordering::Relaxed) && wire.send((Instant::now(), piece)).await.is_err() {
            return Ok(());
        }
    }
}

/// Forwards whole requests, so that one can be lost as a whole.
async fn read_requests(
    mut from: OwnedReadHalf,
    wire: mpsc::Sender<Piece>,
    network: &Network,
    mute: &AtomicBool,
) -> std::io::Result<()> {
    loop {
        let mut length = [0; 4];
        from.read_exact(&mut length).await?;
        let mut request = length.to_vec();
        request.resize(4 + u32::from_be_bytes(length) as usize, 0);
        from.read_exact(&mut request[4..]).await?;
        // All kinds are below 256.
        network.requests[usize::from(request[5])].fetch_add(1, Ordering::Relaxed);
        let [vanishes, unanswered] =
            [Loss::Request, Loss::Answer].map(|loss| network.lost[loss as usize].load(Ordering::Relaxed) == request[5]);
        network
            .losses
            .fetch_add(u64::from(vanishes || unanswered), Ordering::Relaxed);
        if unanswered {
            mute.store(true, Ordering::Relaxed);
        }
        if vanishes {
            continue;
        }
        if wire.send((Instant::now(), request)).await.is_err() {
            return Ok(());
        }
    }
}

async fn write(mut to: OwnedWriteHalf, mut wire: mpsc::Receiver<Piece>, network: &Network) -> std::io::Result<()> {
    while let Some((sent, piece)) = wire.recv().await {
        let delay = Duration::from_millis(network.delay_ms.load(Ordering::Relaxed));
        tokio::time::sleep_until(sent + delay).await;
        for part in piece.chunks(16 << 10) {
            let rate = network.bytes_per_s.load(Ordering::Relaxed);
            if rate > 0 {
                tokio::time::sleep(Duration::from_secs_f64(part.len() as f64 / rate as f64)).await;
            }
            to.write_all(part).await?;
        }
    }
    Ok(())
}
