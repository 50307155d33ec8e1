// A day's work in Thunderbird, run inside it: arguments are port, user, password and the
// certificate in base64. It returns what it saw, or throws.
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const [port, user, password, certificate] = arguments;
const done = arguments[arguments.length - 1];

async function until(what, f) {
  for (let i = 0; i < 300; i++) {
    const value = f();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`waited in vain: ${what}`);
}

function trust() {
  const db = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
  const cert = db.addCertFromBase64(certificate, "CT,CT,CT");
  const overrides = Cc["@mozilla.org/security/certoverride;1"].getService(Ci.nsICertOverrideService);
  overrides.rememberValidityOverride("localhost", port, {}, cert, false);
}

async function account() {
  const server = MailServices.accounts.createIncomingServer(user, "localhost", "imap");
  server.port = port;
  server.socketType = Ci.nsMsgSocketType.SSL;
  server.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
  server.password = password;
  server.valid = true;
  const account = MailServices.accounts.createAccount();
  const identity = MailServices.accounts.createIdentity();
  identity.email = `${user}@example.org`;
  account.addIdentity(identity);
  account.incomingServer = server;
  server.QueryInterface(Ci.nsIImapIncomingServer);
  server.performExpand(null);
  const root = server.rootFolder;
  await until("the folders", () => root.subFolders.length >= 6);
  return root;
}

function update(folder) {
  folder.QueryInterface(Ci.nsIMsgImapMailFolder);
  return new Promise((resolve) => {
    folder.updateFolderWithListener(null, {
      OnStartRunningUrl() {},
      OnStopRunningUrl(url, status) { resolve(status); },
      QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]),
    });
  });
}

function read(folder, header) {
  const uri = folder.getUriForMsg(header);
  return new Promise((resolve) => {
    let text = "";
    MailServices.messageServiceFromURI(uri).streamMessage(uri, {
      onStartRequest() {},
      onDataAvailable(request, stream, offset, count) {
        const s = Cc["@mozilla.org/scriptableinputstream;1"].createInstance(Ci.nsIScriptableInputStream);
        s.init(stream);
        text += s.read(count);
      },
      onStopRequest() { resolve(text); },
      QueryInterface: ChromeUtils.generateQI(["nsIStreamListener", "nsIRequestObserver"]),
    }, null, null, false, "", false);
  });
}

function copy(from, headers, to) {
  return new Promise((resolve) => {
    MailServices.copy.copyMessages(from, headers, to, false, {
      onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() {}, onStopCopy: resolve,
      QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]),
    }, null, false);
  });
}

async function work() {
  trust();
  const root = await account();
  const inbox = await until("INBOX", () => root.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox));
  const sent = root.getFolderWithFlags(Ci.nsMsgFolderFlags.SentMail);
  await update(inbox);
  await until("the messages", () => inbox.getTotalMessages(false) === 3);
  const headers = [...inbox.messages];
  const archive = root.subFolders.find((f) => f.name.startsWith("Archive"));
  inbox.markMessagesRead([headers[0]], true);
  inbox.markMessagesFlagged([headers[1]], true);
  inbox.addKeywordsToMessages([headers[0]], "$label1");
  const text = await read(inbox, headers[0]);
  await copy(inbox, [headers[1]], archive);
  inbox.deleteMessages([headers[2]], null, false, true, null, false);
  await until("the deletion", () => inbox.getTotalMessages(false) === 2);
  root.createSubfolder("Made by Thunderb\u00efrd", null);
  await until("the new folder", () => root.subFolders.some((f) => f.name.startsWith("Made by")));
  await update(archive);
  return { sent: sent && sent.name, archived: archive.getTotalMessages(false), text };
}

work().then((seen) => done({ seen }), (err) => done({ error: `${err}\n${err.stack}` }));
