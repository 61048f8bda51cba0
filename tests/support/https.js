// A client of https that does what it is told: one JSON object a line in, one out.
//
// {open, port, ca, protocol, cert, key}   -> {protocol, subject} or {error}
// {post, path, body, count, headers}      -> {answers: [{status, body} or {error}]}

const http = require('node:http');
const http2 = require('node:http2');
const readline = require('node:readline');
const tls = require('node:tls');

const connections = new Map();
const message = (error) => error.code ?? error.message;

function open({ open: name, port, ca, protocol, cert, key }) {
  return new Promise((resolve) => {
    const fail = (error) => resolve({ error: message(error) });
    const socket = tls.connect({ port, host: '127.0.0.1', servername: 'localhost', ca, cert, key, ALPNProtocols: [protocol] });
    socket.on('error', fail);
    socket.on('close', () => fail(new Error('closed')));
    socket.once('secureConnect', () => {
      const opened = { protocol: socket.alpnProtocol, subject: socket.getPeerCertificate().subject.CN };
      if (protocol !== 'h2') {
        // With TLS 1.3 a refused certificate shows only after the handshake.
        connections.set(name, { socket });
        setImmediate(() => resolve(opened));
        return;
      }
      const session = http2.connect('https://localhost', { createConnection: () => socket });
      session.on('error', fail);
      session.once('remoteSettings', () => {
        connections.set(name, { session });
        resolve(opened);
      });
    });
  });
}

function read(stream, status) {
  return new Promise((resolve, reject) => {
    let body = '';
    stream.setEncoding('utf8');
    stream.on('data', (text) => (body += text));
    stream.on('end', () => resolve({ status: status(), body }));
    stream.on('error', reject);
  });
}

async function postOverHttp2(session, { path, body, headers }) {
  const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/json', ...headers });
  let status;
  stream.on('response', (head) => (status = head[':status']));
  const answer = read(stream, () => status);
  stream.end(body);
  return answer;
}

function postOverHttp1(socket, { path, body, headers }) {
  return new Promise((resolve, reject) => {
    const agent = new http.Agent({ keepAlive: true });
    agent.createConnection = () => socket;
    const length = Buffer.byteLength(body);
    const options = { method: 'POST', path, agent, headers: { host: 'localhost', 'content-length': length, ...headers } };
    const request = http.request(options, (response) => read(response, () => response.statusCode).then(resolve, reject));
    request.on('error', reject);
    request.end(body);
  });
}

async function post(order) {
  const { session, socket } = connections.get(order.post);
  const one = () => (session ? postOverHttp2(session, order) : postOverHttp1(socket, order));
  const outcome = () => one().catch((error) => ({ error: message(error) }));
  return { answers: await Promise.all(Array.from({ length: order.count ?? 1 }, outcome)) };
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    console.log(JSON.stringify(await (order.open ? open(order) : post(order))));
  }
  process.exit(0);
})();
