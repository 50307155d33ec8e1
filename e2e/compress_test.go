package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/e2e/cluster"
)

// compressedScript is a client that compresses with zlib, as most do, and uses what
// goes with one round trip then.
const compressedScript = `
import socket, ssl, sys, zlib
host, port, ca, user, password = sys.argv[1], int(sys.argv[2]), *sys.argv[3:6]
raw = socket.create_connection((host, port), timeout=20)
sock = ssl.create_default_context(cafile=ca).wrap_socket(raw, server_hostname=host)
inflate = deflate = None
buf, plain, wire = b'', 0, 0

def send(data):
    if deflate:
        data = deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)
    sock.sendall(data)

def more():
    global buf, plain, wire
    data = sock.recv(65536)
    assert data, 'connection ended'
    wire += len(data)
    if inflate:
        data = inflate.decompress(data)
    plain += len(data)
    buf += data

def until(end):
    global buf
    while end not in buf:
        more()
    i = buf.index(end) + len(end)
    out, buf = buf[:i], buf[i:]
    return out

count = 0
def command(text, literal=None):
    global count
    count += 1
    tag = b't%d ' % count
    send(tag + text.encode())
    if literal is not None:
        send(b' {%d+}\r\n' % len(literal) + literal)
    send(b'\r\n')
    out = b''
    while True:
        line = until(b'\r\n')
        out += line
        if line.startswith(tag):
            assert line.startswith(tag + b'OK'), out
            return out

until(b'\r\n')
command('LOGIN %s %s' % (user, password))
assert b'COMPRESS=DEFLATE' in command('CAPABILITY')
command('COMPRESS DEFLATE')
inflate, deflate = zlib.decompressobj(-15), zlib.compressobj(9, zlib.DEFLATED, -15)
assert b'COMPRESS=' not in command('CAPABILITY')
box = 'Compressed-%d' % port
command('CREATE ' + box)
mail = b'Subject: one\r\n\r\n' + b'words and words \r\n' * 20000
for _ in range(3):
    command('APPEND ' + box, mail)
command('SELECT ' + box)
plain = wire = 0
out = command('FETCH 1:* (UID PREVIEW BODY.PEEK[])')
assert out.count(mail) == 3, len(out)
assert out.count(b'PREVIEW "words and words') == 3
assert wire * 10 < plain, (wire, plain)
assert b'APPENDUID' in command('REPLACE 2 %s (\\Seen)' % box, mail[:1000])
assert b'QUOTAROOT' in command('GETQUOTAROOT ' + box)
command('SETMETADATA %s (/private/comment "x")' % box)
assert b'(/private/comment "x")' in command('GETMETADATA %s /private/comment' % box)
send(b'i IDLE\r\n')
assert until(b'\r\n').startswith(b'+')
send(b'DONE\r\n')
assert until(b'\r\n').startswith(b'i OK')
command('UNSELECT')
command('DELETE ' + box)
command('LOGOUT')
print('done')
`

// A client that compresses works as any other, and a tenth of the bytes are enough
// for mail that repeats itself.
func TestCompressedClient(t *testing.T) {
	python := needs(t, "python3")
	c := sharedCluster(t)
	dir := t.TempDir()
	script := filepath.Join(dir, "compressed.py")
	if err := os.WriteFile(script, []byte(compressedScript), 0o600); err != nil {
		t.Fatal(err)
	}
	name, password := cluster.User(userPython)
	both(t, c, func(t *testing.T, r *cluster.Region) {
		_, port := hostPort(t, r.IMAP)
		out := command(t, timeout(t, time.Minute), dir, python, script, "localhost", port, c.CACert, name, password)
		if !strings.Contains(out, "done") {
			t.Errorf("the script wrote %q", out)
		}
	})
}
