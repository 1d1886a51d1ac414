'use strict';
// One TLS handshake with Node, and its outcome.
// node tls_probe.js HOST PORT [JSON_OPTIONS]
//   ca          PEM file to trust instead of the built-in list
//   servername  for SNI and the name check, default HOST; "" sends none and checks HOST; an IP address is never sent
//   alpn        list to offer, default ["http/1.1"]
//   cert, key   PEM files of a client certificate
//   min_version, max_version   "TLSv1.2" or "TLSv1.3"
//   hold_ms     how long to stay after a completed handshake, default 300: in TLS 1.3 a server's refusal comes later
//   timeout_ms  default 10000

const fs = require('fs');
const net = require('net');
const tls = require('tls');
const { log } = require('./common');

const [host, port, json = '{}'] = process.argv.slice(2);
const options = JSON.parse(json);
const read = (file) => file && fs.readFileSync(file);

const failure = (error) => ({ code: error.code ?? null, message: error.message });
function finish(line) {
  log(line);
  process.exit(line.ok ? 0 : 1);
}

const socket = tls.connect({
  host,
  port: Number(port),
  ca: read(options.ca),
  cert: read(options.cert),
  key: read(options.key),
  servername: options.servername ?? (net.isIP(host) ? '' : host),
  ALPNProtocols: options.alpn ?? ['http/1.1'],
  minVersion: options.min_version,
  maxVersion: options.max_version,
});
setTimeout(() => finish({ ok: false, stage: 'timeout' }), options.timeout_ms ?? 10_000);

let established = null;
socket.on('secureConnect', () => {
  const certificate = socket.getPeerCertificate();
  established = {
    protocol: socket.getProtocol(),
    cipher: socket.getCipher().standardName,
    alpn: socket.alpnProtocol || null,
    certificate: {
      subject: certificate.subject?.CN ?? null,
      issuer: certificate.issuer?.CN ?? null,
      names: certificate.subjectaltname ?? null,
      not_after: certificate.valid_to ?? null,
    },
  };
  setTimeout(() => finish({ ok: true, ...established }), options.hold_ms ?? 300);
});
socket.on('error', (error) => finish({ ok: false, stage: established ? 'after' : 'handshake', error: failure(error) }));
socket.on('close', () => finish({ ok: false, stage: established ? 'after' : 'handshake', error: null }));
