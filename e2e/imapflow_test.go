package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/e2e/cluster"
)

// TestImapflow has a program that uses imapflow (npm) do its work at both regions: it
// compresses, enables QRESYNC and IMAP4rev2, and idles. PLUTO_NODE_MODULES says where
// imapflow is installed; the test installs nothing.
func TestImapflow(t *testing.T) {
	node := needs(t, "node")
	modules := os.Getenv("PLUTO_NODE_MODULES")
	if _, err := os.Stat(filepath.Join(modules, "imapflow")); modules == "" || err != nil {
		t.Skip("SKIPPED: no imapflow in PLUTO_NODE_MODULES")
	}
	script, err := filepath.Abs(filepath.Join("testdata", "imapflow.cjs"))
	if err != nil {
		t.Fatal(err)
	}
	c := sharedCluster(t)
	name, password := cluster.User(userImapflow)
	both(t, c, func(t *testing.T, r *cluster.Region) {
		_, port := hostPort(t, r.IMAP)
		cmd := exec.CommandContext(timeout(t, time.Minute), node, script, "localhost", port, c.CACert, name, password)
		cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasSuffix(string(out), "done\n") {
			t.Errorf("the script ended with %v and wrote\n%s", err, out)
		}
	})
}
