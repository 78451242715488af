// The page's side: `page.py` calls these functions by name. Each takes and gives plain JSON; arrays come from and go to
// the server as raw bytes.

const ARRAYS = {
  float32: Float32Array, float64: Float64Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array,
  uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array, int64: BigInt64Array, uint64: BigUint64Array,
  bool: Uint8Array, float16: globalThis.Float16Array ?? Uint16Array,
};
let ort, session, feeds = [], turn = 0;

async function fetched(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name} was not served`);
  return answer.arrayBuffer();
}

async function tensor({ dtype, dims, texts, name }) {
  if (texts) return new ort.Tensor('string', texts, dims);
  return new ort.Tensor(dtype, new ARRAYS[dtype](await fetched(name)), dims);
}

async function tensors(inputs) {
  const made = {};
  for (const input of inputs) made[input.input] = await tensor(input);
  return made;
}

/** The smallest step of the clock that is seen, in nanoseconds. */
function resolution() {
  let least = Infinity;
  for (let k = 0; k < 200; k++) {
    const start = performance.now();
    let now = start;
    while (now === start) now = performance.now();
    least = Math.min(least, now - start);
  }
  return Math.round(least * 1e6);
}

/** A module with one instruction of 128 bits: i8x16.splat. */
const SIMD = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11,
]);

async function spin({ ms }) {
  const end = performance.now() + ms;
  while (performance.now() < end);
  return {};
}

async function facts() {
  return {
    agent: navigator.userAgent,
    isolated: crossOriginIsolated,
    logical_cpus: navigator.hardwareConcurrency,
    clock_resolution_ns: resolution(),
    simd: WebAssembly.validate(SIMD),
  };
}

async function adapter() {
  if (!navigator.gpu) return { missing: 'the browser has no navigator.gpu' };
  const found = await navigator.gpu.requestAdapter();
  if (!found) return { missing: 'navigator.gpu.requestAdapter() gives no adapter' };
  const { vendor, architecture, device, description, isFallbackAdapter } = found.info;
  const name = [vendor, architecture, device, description].filter(Boolean).join(' ');
  return isFallbackAdapter ? { missing: `its adapter is emulated in software (${name})` } : { name };
}

async function load({ library, threads }) {
  const start = performance.now();
  ort = await import(`./ort/${library}`);
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = new URL('ort/', location.href).href;
  ort.env.logLevel = 'error';
  return { import_ms: performance.now() - start, version: ort.env.versions.web };
}

async function open({ model, external, options }) {
  const start = performance.now();
  const part = async ({ path, name }) => ({ path, data: new Uint8Array(await fetched(name)) });
  const externalData = await Promise.all(external.map(part));
  session = await ort.InferenceSession.create(new Uint8Array(await fetched(model)), { ...options, externalData });
  const load_ms = performance.now() - start;
  const known = (size) => (size >= 2 ** 31 ? -1 : size); // an unknown size without a name is -1, read as unsigned
  const described = (rows) => rows.map(({ name, isTensor, type, shape }) => ({ name, isTensor, type, shape: shape?.map(known) }));
  return {
    load_ms,
    threads: ort.env.wasm.numThreads,
    inputs: described(session.inputMetadata),
    outputs: described(session.outputMetadata),
  };
}

async function answered(results, names) {
  return Promise.all(names.map(async (name, k) => {
    const { type, dims, data } = results[name];
    if (type === 'string') return { dtype: type, dims, texts: Array.from(data) };
    await fetch(`left/${k}`, { method: 'POST', body: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) });
    return { dtype: type, dims };
  }));
}

async function run({ inputs, outputs }) {
  return answered(await session.run(await tensors(inputs)), outputs);
}

async function prepare({ inputs }) {
  feeds = [];
  turn = 0;
  for (const feed of inputs) feeds.push(await tensors(feed));
  return {};
}

/** Nanoseconds of a run: each figure is the mean of `inner` runs one after the other, where one alone is too short. */
async function time({ count, inner }) {
  const ns = [];
  for (let k = 0; k < count; k++) {
    const start = performance.now();
    for (let j = 0; j < inner; j++) {
      await session.run(feeds[turn]);
      turn = (turn + 1) % feeds.length;
    }
    ns.push(Math.round((performance.now() - start) * 1e6 / inner));
  }
  return { ns };
}

const CALLS = { facts, adapter, spin, load, open, run, prepare, time };

globalThis.edgeport = async (name, argument) => {
  try {
    return { result: await CALLS[name](argument) };
  } catch (error) {
    return { error: error?.message ?? String(error) };
  }
};
