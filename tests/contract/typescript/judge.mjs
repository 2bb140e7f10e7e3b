// What Redocly's recommended rules say of an OpenAPI document: a line each on stdout.

import { createConfig, lint } from "@redocly/openapi-core";

const config = await createConfig({
  extends: ["recommended"],
  rules: {
    "info-license": "off", // nobody has chosen one
    "no-empty-servers": "off", // without MOSTWATCHED_PUBLIC_URL it is the host that it was read from
  },
});
for (const problem of await lint({ ref: process.argv[2], config })) {
  console.log(problem.severity, problem.ruleId, problem.location[0]?.pointer ?? "", problem.message.split("\n")[0]);
}
