// The vectors of the repository's spec/ (its README.md tells what stands in them), and how an answer is replayed.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

// Where tests/sdk_node has copied these tests, spec/ is elsewhere.
const SPEC = process.env.SPEC ?? fileURLToPath(new URL('../../../spec', import.meta.url));

/** Read one of the files. */
export const read = (name) => JSON.parse(readFileSync(`${SPEC}/${name}.json`, 'utf8'));

/** The bytes of a text: its UTF-8, or what stands in base64. */
export const decode = (text) => Buffer.from(...(typeof text === 'string' ? [text] : [text.base64, 'base64']));

/** A stream in pieces: whole, byte by byte, and by each name of its cuts. */
export function cut({ stream, cuts = {} }) {
  const data = decode(stream);
  const slice = (places) => [0, ...places].map((start, i) => data.subarray(start, places[i] ?? data.length));
  return Object.entries({ whole: [], 'byte by byte': [...data.keys()].slice(1), ...cuts }).map(([name, places]) => [
    name,
    slice(places).filter((piece) => piece.length),
  ]);
}

/** Answer with these pieces, each as a chunk of HTTP's chunked coding; `lost`: the connection breaks off. */
export function replay(response, { status = 200, headers = {}, pieces, lost = false }) {
  for (const [name, value] of Object.entries(headers)) {
    response.setHeader(name, decode(value).toString('latin1')); // in UTF-8 on the wire, as Go writes its µs
  }
  response.writeHead(status);
  if (lost) response.flushHeaders();
  for (const piece of pieces) response.write(piece);
  if (lost) response.write('', () => response.socket.destroy());
  else response.end();
}
