// Chromium against a real server and its sandbox, which console_test.go starts.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: { environment: 'node', include: ['test/browser/**/*.spec.ts'], fileParallelism: false, testTimeout: 90_000, hookTimeout: 60_000, bail: 0 },
})
