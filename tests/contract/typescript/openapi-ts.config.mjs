// With endings of files in its imports, as Node wants them.
export default { input: "./public.json", output: { path: "hey-api", module: { extension: ".js" } } };
