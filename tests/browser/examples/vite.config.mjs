// The project that has installed the package: everything in `node_modules` beside this file.

import { svelte } from "@sveltejs/vite-plugin-svelte";
import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [vue(), svelte()],
  resolve: { preserveSymlinks: true },
  build: { chunkSizeWarningLimit: 2000 },
  logLevel: "warn",
});
