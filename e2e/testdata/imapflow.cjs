// A day's work of a program that uses imapflow. It ends with "done" on standard
// output, or with an error; a command that is answered BAD is one.
const fs = require('fs');
const { ImapFlow } = require('imapflow');

const [host, port, ca, user, pass] = process.argv.slice(2);
const bad = [];
const logger = {};
for (const level of ['trace', 'debug', 'info', 'warn', 'error', 'fatal']) {
  logger[level] = (o) => {
    if (o.src === 's' && /^\S+ BAD\b/.test(o.msg)) bad.push(o.msg);
  };
}
const options = {
  host, port: +port, secure: true, qresync: true, logger,
  tls: { ca: fs.readFileSync(ca), servername: 'localhost' }, auth: { user, pass },
};

function expect(ok, what) {
  if (!ok) throw new Error('not as expected: ' + what);
}

const mail = (n) => [
  'From: a@example.org', 'To: b@example.org', `Subject: flow ${n}`, `Message-ID: <flow${n}@example.org>`,
  'Date: Mon, 2 Mar 2026 10:00:00 +0000', 'Content-Type: multipart/mixed; boundary=x', '',
  '--x', 'Content-Type: text/plain; charset=utf-8', '', `Gr\u00fc\u00dfe ${n}`,
  '--x', 'Content-Type: application/octet-stream; name=a.bin', 'Content-Transfer-Encoding: base64', '', 'AAECAwQ=', '--x--', '',
].join('\r\n');

async function collect(iterable) {
  const all = [];
  for await (const one of iterable) all.push(one);
  return all;
}

async function read(c, uids) {
  const all = await collect(c.fetch('1:*', {
    uid: true, flags: true, envelope: true, bodyStructure: true, internalDate: true, size: true,
    headers: ['subject'], source: true, threadId: true,
  }));
  expect(all.length === 5 && all[1].flags.has('\\Seen'), 'FETCH');
  expect(all[2].envelope.subject === 'flow 2' && all[0].bodyStructure.childNodes.length === 2, 'envelope and structure');
  expect(all[3].source.toString() === mail(3), 'source');
  const part = await c.download(uids[0], '2', { uid: true });
  expect(Buffer.concat(await collect(part.content)).equals(Buffer.from([0, 1, 2, 3, 4])), 'download');
  expect((await c.search({ seen: true }, { uid: true })).length === 2, 'SEARCH SEEN');
  expect((await c.search({ body: 'Gr\u00fc\u00dfe 3' }, { uid: true })).join() === String(uids[3]), 'SEARCH BODY');
}

async function change(c, uids) {
  const known = c.mailbox.highestModseq;
  await c.messageFlagsAdd([uids[0]], ['\\Flagged', '$Label'], { uid: true });
  await c.messageFlagsRemove({ seen: true }, ['\\Seen']);
  await c.messageFlagsSet([uids[4]], ['\\Answered'], { uid: true });
  const changed = await collect(c.fetch('1:*', { uid: true, flags: true }, { changedSince: known }));
  expect(changed.length === 4, 'changed since');
  const gone = []; // it counts no VANISHED in mailbox.exists
  c.on('expunge', (e) => gone.push(e.uid));
  expect((await c.messageCopy([uids[0], uids[1]], 'Archive', { uid: true })).uidMap.size === 2, 'COPY');
  expect((await c.messageMove([uids[1]], 'Trash', { uid: true })).uidMap.size === 1, 'MOVE');
  await c.messageDelete([uids[2]], { uid: true });
  expect(gone.join() === [uids[1], uids[2]].join(), 'expunged ' + gone);
}

async function wait(c, box) {
  const other = new ImapFlow({ ...options, clientInfo: { name: 'other' } });
  await other.connect();
  const heard = new Promise((resolve) => c.once('exists', resolve));
  const idling = c.idle();
  await other.append(box, mail(9), []);
  await heard;
  await c.noop();
  await idling;
  await other.logout();
}

async function main() {
  const c = new ImapFlow(options);
  await c.connect();
  const box = 'Flow-' + port;
  expect((await c.mailboxCreate(box)).created, 'CREATE');
  await c.mailboxSubscribe(box);
  const uids = [];
  for (let n = 0; n < 5; n++) {
    uids.push((await c.append(box, mail(n), n % 2 ? ['\\Seen'] : [], new Date('2026-03-02T10:00:00Z'))).uid);
  }
  const list = await c.list({ statusQuery: { messages: true, unseen: true, uidNext: true, highestModseq: true } });
  expect(list.some((m) => m.path === box && m.subscribed && m.status.messages === 5), 'LIST');
  expect(list.some((m) => m.specialUse === '\\Sent'), 'special use');
  const lock = await c.getMailboxLock(box);
  try {
    expect(c.mailbox.exists === 5, 'EXISTS');
    await read(c, uids);
    await change(c, uids);
    await wait(c, box);
  } finally {
    lock.release();
  }
  expect((await c.status(box, { messages: true, unseen: true, uidValidity: true })).messages === 4, 'STATUS');
  await c.getQuota('INBOX');
  await c.mailboxRename(box, box + '-2');
  await c.mailboxOpen(box + '-2', { readOnly: true });
  await c.mailboxClose();
  await c.mailboxUnsubscribe(box);
  await c.mailboxDelete(box + '-2');
  await c.logout();
  expect(bad.length === 0, 'BAD: ' + bad.join('; '));
  console.log('done');
}

main().catch((err) => {
  console.error(err, bad);
  process.exit(1);
});
