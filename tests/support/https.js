// An HTTPS client that follows orders: one JSON object per line on standard input, one on standard output.
//
// {open, port, ca, cert, key}   -> {protocol, subject} or {error}; it offers both versions of HTTP, as most clients do
// {post, path, body, headers}   -> {status, body} or {error}

const http = require('node:http');
const readline = require('node:readline');
const tls = require('node:tls');

const connections = new Map();
const message = (error) => error.code ?? error.message;

function open({ open: name, port, ca, cert, key }) {
  return new Promise((resolve) => {
    const ALPNProtocols = ['h2', 'http/1.1'];
    const socket = tls.connect({ port, host: '127.0.0.1', servername: 'localhost', ca, cert, key, ALPNProtocols });
    const fail = (error) => {
      socket.failure ??= message(error);
      resolve({ error: socket.failure });
    };
    socket.on('error', fail);
    socket.on('close', () => fail(new Error('closed')));
    socket.once('secureConnect', () => {
      connections.set(name, socket);
      const opened = { protocol: socket.alpnProtocol, subject: socket.getPeerCertificate().subject.CN };
      // With TLS 1.3, the refusal of a client certificate arrives only after the handshake.
      setImmediate(() => resolve(opened));
    });
  });
}

function post({ post: name, path, body, headers }) {
  return new Promise((resolve) => {
    const socket = connections.get(name);
    if (socket.failure) {
      resolve({ error: socket.failure });
      return;
    }
    const fail = (error) => resolve({ error: socket.failure ?? message(error) });
    const agent = new http.Agent({ keepAlive: true });
    agent.createConnection = () => socket;
    const length = Buffer.byteLength(body);
    const options = { method: 'POST', path, agent, headers: { host: 'localhost', 'content-length': length, ...headers } };
    const request = http.request(options, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part) => (text += part));
      response.on('end', () => resolve({ status: response.statusCode, body: text }));
      response.on('error', fail);
    });
    request.on('error', fail);
    request.end(body);
  });
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    console.log(JSON.stringify(await (order.open ? open(order) : post(order))));
  }
  process.exit(0);
})();
