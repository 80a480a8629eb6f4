// Chromium against a real server and its sandbox, which console_test.go starts.
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

// The specs share the server, so they run in one order everywhere; without this it depends on how
// long each took the last time.
class ByName extends BaseSequencer {
  override async sort(files: TestSpecification[]) {
    return [...files].sort((a, b) => a.moduleId.localeCompare(b.moduleId))
  }
}

export default defineConfig({
  test: {
    environment: 'node',
    include: ['test/browser/**/*.spec.ts'],
    fileParallelism: false,
    sequence: { sequencer: ByName },
    testTimeout: 90_000,
    hookTimeout: 60_000,
    bail: 0,
  },
})
