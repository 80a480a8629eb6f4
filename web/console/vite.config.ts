import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vite'

// The server that `npm run dev` shows: start one with `go run ./cmd/hongyan demo`.
const server = process.env.HONGYAN_URL ?? 'http://127.0.0.1:8420'

export default defineConfig({
  base: '/console/',
  plugins: [vue()],
  build: {
    outDir: process.env.CONSOLE_OUT ?? '../../internal/console/dist',
    emptyOutDir: true,
    target: 'es2022',
    // One answer for every browser that asks: the server compresses.
    reportCompressedSize: false,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { '/v1': server, '/docs': server } },
})
