// Calls endpoints through functions that orval has made of the contract, and reads fields of data and errors by their
// types. The last line on stdout says what came back.

import { creatorOverTime, fundedStreams, health, listStreams, mostWatchedCreators, rankingOfRange } from "./orval/api.js";

const [token, creatorId] = process.argv.slice(2) as [string, string];
const headers = { Authorization: `Bearer ${token}` };

const ranked = await mostWatchedCreators({ limit: 5 });
if (ranked.status !== 200) throw new Error(JSON.stringify(ranked.data));
const succeeded: true = ranked.data.isSuccess;
const status: 200 = ranked.data.statusCode;
const following: boolean | null | undefined = ranked.data.data[0]?.isFollowing;

const refused = await mostWatchedCreators({ limit: 0 });
if (refused.status !== 400) throw new Error(String(refused.status));
const failed: false = refused.data.isSuccess;

const funded = await fundedStreams({ headers });
if (funded.status !== 200) throw new Error(JSON.stringify(funded.data));
const access: "owner" | "rented" | "expired" | "none" | undefined = funded.data.data[0]?.replayAccess.status;
const anonymous = await fundedStreams();
if (anonymous.status !== 401) throw new Error(String(anonymous.status));
const [reason]: string[] = anonymous.data.errors;

const listed = await listStreams({ status: "active" });
if (listed.status !== 200) throw new Error(JSON.stringify(listed.data));
const stream: "active" | "banned" | undefined = listed.data.streams[0]?.status;

const range = await rankingOfRange({ days: 7, limit: 1, trend: "true" });
if (range.status !== 200 || typeof range.data === "string") throw new Error(JSON.stringify(range.data)); // not CSV
const next: string | null = range.data.data.next;
const over = await creatorOverTime({ creatorId });
if (over.status !== 200 || typeof over.data === "string") throw new Error(JSON.stringify(over.data));
const rank: number | undefined = over.data.data.ranking?.rank;
const alive = await health();
const ok: "ok" | undefined = alive.status === 200 ? alive.data.data.status : undefined;

console.log(JSON.stringify([succeeded, status, following, failed, access, reason, stream, next, rank, ok]));
