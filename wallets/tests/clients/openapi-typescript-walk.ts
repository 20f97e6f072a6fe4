// The walk with the types of openapi-typescript and the calls of openapi-fetch.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./wallet-client";

async function walk(): Promise<void> {
  const client = createClient<paths>({ baseUrl: process.argv[2] });
  const opened = await client.POST("/wallets/");
  assert(opened.data);
  const path = { wallet_uuid: opened.data.uuid };
  const header = { "Idempotency-Key": crypto.randomUUID() };
  let made: components["schemas"]["Deposit"] | undefined;
  for (const replayed of [null, "true"]) {
    const answer = await client.POST("/wallets/{wallet_uuid}/deposit", {
      params: { path, header },
      body: { amount: 10000 },
    });
    made = answer.data;
    assert.equal(made?.wallet.balance, 10000);
    assert.equal(answer.response.headers.get("Idempotent-Replayed"), replayed);
  }
  assert(made);
  const planned = await client.POST("/wallets/{wallet_uuid}/withdraw", {
    params: { path, header: { "Idempotency-Key": crypto.randomUUID() } },
    body: { amount: 4000, scheduled_for: new Date(Date.now() + 86400e3).toISOString() },
  });
  assert(planned.data);
  const found = await client.GET("/wallets/{wallet_uuid}/", { params: { path } });
  assert.equal(found.data?.balance, 10000);
  const listed = await client.GET("/wallets/{wallet_uuid}/transactions/", {
    params: { path, query: { status: "PENDING", limit: 10 } },
  });
  assert.deepEqual(listed.data, [planned.data]);
  const cancelled = await client.POST(
    "/wallets/{wallet_uuid}/transactions/{transaction_id}/cancel",
    { params: { path: { ...path, transaction_id: planned.data.id } } },
  );
  assert.equal(cancelled.data?.status, "CANCELLED");
  const refused = await client.POST(
    "/wallets/{wallet_uuid}/transactions/{transaction_id}/cancel",
    { params: { path: { ...path, transaction_id: made.transaction.id } } },
  );
  assert.equal(refused.error?.code, "not_cancelable");
  const table = await client.GET("/wallets/{wallet_uuid}/statement/", {
    params: { path },
    headers: { Accept: "text/csv" },
    parseAs: "text",
  });
  assert.match(String(table.data), /^sequence,at,kind/);
  console.log("done");
}

void walk();
