// The CommonJS build: what esbuild adds to make one of an ES module is larger than this.
import { createPush } from './index'

declare const exports: { createPush: typeof createPush }
exports.createPush = createPush
