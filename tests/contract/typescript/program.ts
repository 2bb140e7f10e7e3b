// Calls every operation of the contract through a client made of it, and reads a field of every kind of answer.
// It is compiled with --strict, so that every name and type below is one that the generator has understood; the test
// runs it against a real server. The last line on stdout says what came back.

import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

// openapi-fetch leaves fields out whose only value is null.
type Failure = Omit<components["schemas"]["Error"], "data">;

const [baseUrl, token, creatorId, unknownSnapshot] = process.argv.slice(2) as [string, string, string, string];
const client = createClient<paths>({ baseUrl });
const caller = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });
const statuses: Record<string, number[]> = {};
let next: string | null = "";

// What is answered is data or an error, and never both; the status is kept for the test.
function got<T, E>(operation: string, answer: { data?: T; error?: E; response: Response }): T {
  (statuses[operation] ??= []).push(answer.response.status);
  if (answer.data === undefined) throw new Error(`${operation}: ${JSON.stringify(answer.error)}`);
  return answer.data;
}

function failed(operation: string, answer: { error?: Failure; response: Response }): string {
  (statuses[operation] ??= []).push(answer.response.status);
  const error: Failure | undefined = answer.error;
  if (error === undefined || error.isSuccess || error.statusCode !== answer.response.status) throw new Error(operation);
  const [first] = error.errors;
  if (first === undefined) throw new Error(`${operation}: no reason`);
  return first;
}

function same<T>(value: T, expected: T): void {
  if (value !== expected) throw new Error(`${String(value)} is not ${String(expected)}`);
}

// --- the documented endpoints ---

const RANKING = "/api/v1/live-stream/most-watched-creators";
const ranked = got("mostWatchedCreators", await client.GET(RANKING, { params: { query: { limit: 5 } } }));
const photo: string | null | undefined = ranked.data[0]?.profilePhoto?.url;
const following: boolean | null | undefined = ranked.data[0]?.isFollowing;
same(following, null);
same(typeof photo, "string");
failed("mostWatchedCreators", await client.GET(RANKING, { params: { query: { limit: 0 } } }));
failed("mostWatchedCreators", await client.GET(RANKING, { headers: { Authorization: "Bearer x.y.z" } }));

const funded = got("fundedStreams", await caller.GET("/api/v1/live-stream/funded"));
const access: "owner" | "rented" | "expired" | "none" | undefined = funded.data[0]?.replayAccess.status;
const percentage: number | null | undefined = funded.data[0]?.fundingPercentage;
same([access === undefined, percentage === undefined].includes(true), false);
failed("fundedStreams", await client.GET("/api/v1/live-stream/funded"));

const LIST = "/lls/v1.0/stream";
const listed = got("listStreams", await client.GET(LIST, { params: { query: { status: "active" } } }));
const created: string | undefined = listed.streams[0]?.created;
same(typeof created, "string");
failed("listStreams", await client.GET(LIST, { params: { query: { status: "x" as "active" } } }));

// --- creators in any range ---

const RANGE = "/api/v1/creators/ranking";
const part = got("rankingOfRange", await client.GET(RANGE, { params: { query: { days: 7, limit: 1, trend: "true" } } }));
if (!("isSuccess" in Object(part))) throw new Error("not JSON");
const range = (part as components["schemas"]["RankingOfRange"]).data;
next = range.next;
const place: number | undefined = range.creators[0]?.rank;
const complete: boolean | undefined = range.completeness?.isComplete;
same([place, complete].includes(undefined), false);
failed("rankingOfRange", await client.GET(RANGE, { params: { query: { days: 1000 } } }));
failed("rankingOfRange", await client.GET(RANGE, { params: { query: { snapshot: unknownSnapshot } } }));
const table = await client.GET(RANGE, { params: { query: { format: "csv", bom: "true" } }, parseAs: "text" });
same(String(table.data).split(",")[0], "position"); // fetch takes the mark off

const REACH = "/api/v1/creators/reach";
const reached = got("creatorOverTime", await client.GET(REACH, { params: { query: { creatorId } } }));
const over = (reached as components["schemas"]["CreatorOverTime"]).data;
const viewers: number | null | undefined = over.byDay[0]?.viewers;
same(viewers === undefined, false);
same(over.ranking?.rank, 1);
failed("creatorOverTime", await client.GET(REACH, { params: { query: { creatorId: "nobody" } } }));
failed("creatorOverTime", await client.GET(REACH, { params: { query: { creatorId, days: 1000 } } }));
failed("creatorOverTime", await client.GET(REACH, { params: { query: { creatorId, snapshot: unknownSnapshot } } }));

const WHY = "/api/v1/creators/explanation";
failed("whyThisNumber", await client.GET(WHY, { params: { query: { creatorId } } }));
failed("whyThisNumber", await caller.GET(WHY, { params: { query: { creatorId } } }));
const operator = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${process.argv[6]}` } });
failed("whyThisNumber", await operator.GET(WHY, { params: { query: { creatorId, days: 1000 } } }));
failed("whyThisNumber", await operator.GET(WHY, { params: { query: { creatorId, snapshot: unknownSnapshot } } }));
failed("whyThisNumber", await operator.GET(WHY, { params: { query: { creatorId: "nobody" } } }));
const why = got("whyThisNumber", await operator.GET(WHY, { params: { query: { creatorId } } }));
same(why.data.creatorId, creatorId);
const agrees: boolean = why.data.agrees;
same(agrees, false); // nothing landed in the test: the figure was published by hand

// --- operations ---

const health: "ok" = got("health", await client.GET("/healthz")).data.status;
same(health, "ok");
const snapshotId: string = got("readiness", await client.GET("/readyz")).data.snapshotId;
same(snapshotId, range.snapshotId);
const metrics: string = got("metrics", await client.GET("/metrics", { parseAs: "text" }));
same(metrics.includes("mostwatched_"), true);
got("openapi", await client.GET("/openapi.json"));

// --- pages and their files: texts ---

const texts: string[] = [
  got("docs", await client.GET("/docs", { parseAs: "text" })),
  got("rankingPage", await client.GET("/", { parseAs: "text", params: { query: { days: 7, lang: "tr" } } })),
  got("creatorPage", await client.GET("/creator", { parseAs: "text", params: { query: { id: creatorId } } })),
  got("assetChartsJs", await client.GET("/page/charts.js", { parseAs: "text" })),
  got("assetExplanationJs", await client.GET("/page/explanation.js", { parseAs: "text" })),
  got("assetIconSvg", await client.GET("/page/icon.svg", { parseAs: "text" })),
  got("assetPageCss", await client.GET("/page/page.css", { parseAs: "text" })),
  got("assetPageJs", await client.GET("/page/page.js", { parseAs: "text" })),
];
same(texts.every((text) => text.length > 0), true);

console.log(JSON.stringify({ statuses, next }));
