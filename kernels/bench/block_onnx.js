// Times a graph that block_torch.py has exported, on ONNX Runtime, after comparing its
// outputs with PyTorch's, and prints one JSON object.
//
// Usage: node block_onnx.js DIR forward|backward THREADS REPETITIONS
'use strict';
const fs = require('fs');
const path = require('path');

async function main() {
	const [folder, name, threads, runs] = process.argv.slice(2);
	const ort = require('onnxruntime-node');
	const graph = JSON.parse(fs.readFileSync(path.join(folder, name + '.json')));
	const load = (t) => {
		const bytes = fs.readFileSync(path.join(folder, t.file));
		return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
	};
	const session = await ort.InferenceSession.create(path.join(folder, name + '.onnx'), {
		intraOpNumThreads: Number(threads), interOpNumThreads: 1, graphOptimizationLevel: 'all',
	});
	const feeds = {};
	for (const t of graph.inputs) feeds[t.name] = new ort.Tensor('float32', load(t), t.dims);

	const results = await session.run(feeds);
	for (const t of graph.outputs) {
		const want = load(t), got = results[t.name].data;
		let difference = 0, norm = 0;
		for (let i = 0; i < want.length; i++) {
			difference += (want[i] - got[i]) ** 2;
			norm += want[i] ** 2;
		}
		if (!(Math.sqrt(difference) < 1e-4 * Math.sqrt(norm) + 1e-6)) {
			throw new Error(`${t.name} of ${name} is off by ${Math.sqrt(difference)}`);
		}
	}

	const seconds = [];
	for (let r = -1; r < Number(runs); r++) {
		const start = process.hrtime.bigint();
		await session.run(feeds);
		if (r >= 0) seconds.push(Number(process.hrtime.bigint() - start) / 1e9);
	}
	console.log(JSON.stringify({
		case: 'transformer block, ' + (name === 'forward' ? 'forward' : 'forward + backward'), threads: Number(threads),
		runner: 'ONNX Runtime ' + require('onnxruntime-node/package.json').version, flops: graph.flops,
		peak: process.resourceUsage().maxRSS * 1024, seconds,
	}));
}

main().catch((e) => {
	console.error('block_onnx:', e.message);
	process.exit(1);
});
