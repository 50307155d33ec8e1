package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-pluto/pluto/bench"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// readmeSteps are the steps of the 2017 prototype's README, verbatim.
var readmeSteps = []string{
	"cp config.toml.example config.toml",
	"make pki",
	"make test-public",
	"make deps",
	"make build",
}

// readmeNodes are started in this order, each in a terminal of its own.
var readmeNodes = []string{
	"./pluto -storage",
	"./pluto -worker worker-1",
	"./pluto -worker worker-2",
	"./pluto -distributor",
}

// readmePorts are those of config.toml.example.
var readmePorts = []int{1993, 9001, 9002, 9003, 9004, 20001, 20002, 21000, 30001, 30002, 31001, 31002}

// TestReadme does on a copy of the tree what a new user does.
func TestReadme(t *testing.T) {
	needs(t, "make")
	dir := copyTree(t)
	ctx := timeout(t, 10*time.Minute)
	for _, step := range readmeSteps {
		shell(t, ctx, dir, step)
	}
	for _, bin := range []string{"pluto", "pluto-pki", "plutoctl", "pluto-bench"} {
		out := shell(t, ctx, dir, "file ./"+bin+" 2>/dev/null || true")
		if strings.Contains(out, "dynamically linked") {
			t.Errorf("./%s is not static: %s", bin, out)
		}
		if _, err := os.Stat(filepath.Join(dir, bin)); err != nil {
			t.Error(err)
		}
	}
	for _, p := range readmePorts {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			t.Skipf("SKIPPED: the configuration's port %d is taken: %v", p, err)
		}
		l.Close()
	}
	procs := make([]*process, len(readmeNodes))
	for i, node := range readmeNodes {
		procs[i] = startProcess(t, dir, node)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "private", "public-distributor-cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	front := bench.Target{Addr: "localhost:1993", TLS: &tls.Config{RootCAs: pool}, Timeout: 20 * time.Second}
	for _, user := range []int{1, 20} { // one of each worker
		until(t, timeout(t, readyTime), fmt.Sprintf("a session of user%d", user), func() (bool, error) {
			err := storeAndRead(ctx, front, user)
			return err == nil, err
		})
	}
	procs[1] = moveWhileWorking(t, ctx, dir, front, procs[1])
	for i := len(procs) - 1; i >= 0; i-- {
		procs[i].stop(t)
	}
}

// copyTree copies what git knows of the repository.
func copyTree(t *testing.T) string {
	t.Helper()
	root, err := cluster.Root()
	if err != nil {
		t.Fatal(err)
	}
	needs(t, "git")
	dir := t.TempDir()
	files := shell(t, timeout(t, time.Minute), root, "git ls-files --cached --others --exclude-standard")
	for name := range strings.SplitSeq(strings.TrimSpace(files), "\n") {
		b, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) { // deleted and not yet committed
			continue
		}
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func shell(t *testing.T, ctx context.Context, dir, line string) string {
	t.Helper()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", line, err, out.String(), errs.String())
	}
	return out.String()
}

// process is a node that is started as a person types it.
type process struct {
	line string
	cmd  *exec.Cmd
	log  *bytes.Buffer
}

func startProcess(t *testing.T, dir, line string) *process {
	t.Helper()
	p := &process{line: line, cmd: exec.Command("sh", "-c", "exec "+line), log: new(bytes.Buffer)}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			p.cmd.Process.Kill()
			p.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("=== %s\n%s", line, p.log.String())
		}
	})
	return p
}

// stop sends SIGTERM and wants exit code 0.
func (p *process) stop(t *testing.T) {
	t.Helper()
	timer := time.AfterFunc(30*time.Second, func() { p.cmd.Process.Kill() })
	defer timer.Stop()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("%s: %v", p.line, err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%s after SIGTERM: %v", p.line, err)
	}
}
