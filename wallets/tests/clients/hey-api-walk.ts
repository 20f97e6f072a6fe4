// The walk with the client of @hey-api/openapi-ts.
import assert from "node:assert/strict";
import {
  cancel,
  createWallet,
  deposit,
  getWallet,
  listTransactions,
  withdraw,
} from "./wallet-client";
import { client } from "./wallet-client/client.gen";

async function walk(): Promise<void> {
  client.setConfig({ baseUrl: process.argv[2] });
  const opened = await createWallet();
  assert(opened.data);
  const path = { wallet_uuid: opened.data.uuid };
  const headers = { "Idempotency-Key": crypto.randomUUID() };
  let id = 0;
  for (const replayed of [null, "true"]) {
    const made = await deposit({ path, headers, body: { amount: 10000 } });
    assert(made.data);
    assert.equal(made.data.wallet.balance, 10000);
    assert.equal(made.response.headers.get("Idempotent-Replayed"), replayed);
    id = made.data.transaction.id as number;
  }
  const planned = await withdraw({
    path,
    headers: { "Idempotency-Key": crypto.randomUUID() },
    body: { amount: 4000, scheduled_for: new Date(Date.now() + 86400e3).toISOString() },
  });
  assert(planned.data);
  assert.equal((await getWallet({ path })).data?.balance, 10000);
  const listed = await listTransactions({ path, query: { status: "PENDING" } });
  assert.deepEqual(listed.data, [planned.data]);
  const cancelled = await cancel({
    path: { ...path, transaction_id: planned.data.id },
  });
  assert.equal(cancelled.data?.status, "CANCELLED");
  const refused = await cancel({ path: { ...path, transaction_id: id } });
  assert.equal(refused.error?.code, "not_cancelable");
  console.log("done");
}

void walk();
