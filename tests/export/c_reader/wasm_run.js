// For the tests: node wasm_run.js READER.wasm FILE.demi writes the values of all tensors, one after the other.
const fs = require("fs");

WebAssembly.instantiate(fs.readFileSync(process.argv[2])).then(({instance}) => {
    const reader = instance.exports, memory = () => new Uint8Array(reader.memory.buffer);
    const file = fs.readFileSync(process.argv[3]);
    memory().set(file, reader.data());
    const status = reader.open(file.length);
    if (status !== 0) {
        throw new Error(`status ${status}`);
    }
    for (let index = 0; index < reader.tensors(); ++index) {
        const bytes = reader.read(index), start = reader.values();
        process.stdout.write(Buffer.from(memory().slice(start, start + bytes)));
    }
});
