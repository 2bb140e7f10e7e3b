// Calls endpoints through functions that @hey-api/openapi-ts has made of the contract, and reads fields of data and
// errors by their types. The last line on stdout says what came back.

import { createClient } from "./hey-api/client/index.js";
import { creatorOverTime, fundedStreams, health, listStreams, metrics, mostWatchedCreators, rankingOfRange } from "./hey-api/index.js";

const [baseUrl, token, creatorId] = process.argv.slice(2) as [string, string, string];
const client = createClient({ baseUrl });
const caller = createClient({ baseUrl, auth: token });

const ranked = await mostWatchedCreators({ client, query: { limit: 5 } });
if (ranked.data === undefined) throw new Error(JSON.stringify(ranked.error));
const succeeded: true = ranked.data.isSuccess;
const status: 200 = ranked.data.statusCode;
const following: boolean | null | undefined = ranked.data.data[0]?.isFollowing;

const refused = await mostWatchedCreators({ client, query: { limit: 0 } });
const failed: false | undefined = refused.error?.isSuccess;

const funded = await fundedStreams({ client: caller });
if (funded.data === undefined) throw new Error(JSON.stringify(funded.error));
const access: "owner" | "rented" | "expired" | "none" | undefined = funded.data.data[0]?.replayAccess.status;
const anonymous = await fundedStreams({ client });
const reason: string | undefined = anonymous.error?.errors[0];

const listed = await listStreams({ client, query: { status: "active" } });
const stream: "active" | "banned" | undefined = listed.data?.streams[0]?.status;

const range = await rankingOfRange({ client, query: { days: 7, limit: 1, trend: "true" } });
if (range.data === undefined || typeof range.data === "string") throw new Error(JSON.stringify(range.error)); // not CSV
const next: string | null = range.data.data.next;
const over = await creatorOverTime({ client, query: { creatorId } });
if (over.data === undefined || typeof over.data === "string") throw new Error(JSON.stringify(over.error));
const rank: number | undefined = over.data.data.ranking?.rank;
const ok: "ok" | undefined = (await health({ client })).data?.data.status;
const text: string | undefined = (await metrics({ client })).data;
if (!text?.includes("mostwatched_")) throw new Error("no metrics");

console.log(JSON.stringify([succeeded, status, following, failed, access, reason, stream, next, rank, ok]));
