// Reads the server's address from the document, as MOSTWATCHED_PUBLIC_URL puts it there.
export default {
  api: {
    input: "./public.json",
    output: { target: "./orval/api.ts", client: "fetch", baseUrl: { getBaseUrlFromSpecification: true } },
  },
};
