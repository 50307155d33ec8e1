package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Node is one process of a cluster. Safe for concurrent use.
type Node struct {
	Name string
	HTTP string // where /readyz and /metrics are

	path string
	args []string
	env  []string
	dir  string
	log  string // standard output and error of all runs

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when the process of cmd has ended
}

// Start starts the process with further arguments. It does not wait for more
// than the start.
func (n *Node) Start(args ...string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running() {
		return fmt.Errorf("%s runs already", n.Name)
	}
	log, err := os.OpenFile(n.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(n.path, append(append([]string(nil), n.args...), args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = n.dir, log, log
	cmd.Env = append(os.Environ(), n.env...)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", n.Name, err)
	}
	done := make(chan struct{})
	n.cmd, n.done = cmd, done
	go func() {
		cmd.Wait()
		close(done)
	}()
	return nil
}

func (n *Node) running() bool {
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.done:
		return false
	default:
		return true
	}
}

// UseProgram has the node run another pluto when it is started next.
func (n *Node) UseProgram(path string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.path = path
}

// Command returns the node's command, to be run once more beside the process of
// Start, with an output of its own.
func (n *Node) Command(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, n.path, n.args...)
	cmd.Dir, cmd.Env = n.dir, append(os.Environ(), n.env...)
	return cmd
}

// Running tells whether the process runs.
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.running()
}

// PID returns the number of the process that was started last, 0 if none was.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

func (n *Node) current() (*exec.Cmd, chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd, n.done
}

// Await waits until /readyz answers 200. It fails at once when the process has ended.
func (n *Node) Await(ctx context.Context) error {
	_, done := n.current()
	if done == nil {
		return fmt.Errorf("%s was not started", n.Name)
	}
	const every = 20 * time.Millisecond
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		state, err := n.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-done:
			return fmt.Errorf("%s ended: %s\n%s", n.Name, n.exit(), n.LogTail(20))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %s\n%s", n.Name, err, state, n.LogTail(20))
		case <-t.C:
		}
	}
}

// Ready asks /readyz once: an error unless it answers 200.
func (n *Node) Ready(ctx context.Context) (text string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	code, text, err := n.get(ctx, "/readyz")
	if err != nil {
		return "", err
	}
	if code != http.StatusOK {
		return text, fmt.Errorf("/readyz answers %d", code)
	}
	return text, nil
}

// Metrics returns the text of /metrics.
func (n *Node) Metrics(ctx context.Context) (string, error) {
	code, text, err := n.get(ctx, "/metrics")
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("/metrics answers %d", code)
	}
	return text, err
}

const maxPage = 4 << 20

func (n *Node) get(ctx context.Context, path string) (code int, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.HTTP+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	return resp.StatusCode, string(b), err
}

// Kill ends the process by SIGKILL and waits for its end. A process that has
// ended already is left in peace.
func (n *Node) Kill() {
	cmd, done := n.current()
	if cmd == nil {
		return
	}
	cmd.Process.Kill()
	<-done
}

// Signal sends a signal to the process.
func (n *Node) Signal(s os.Signal) error {
	cmd, _ := n.current()
	if cmd == nil {
		return fmt.Errorf("%s was not started", n.Name)
	}
	return cmd.Process.Signal(s)
}

// Pause stops the process by SIGSTOP and returns when none of its threads runs
// any more, which on a busy machine is not at once. Resume lets it go on.
func (n *Node) Pause() error {
	if err := n.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("pause %s: %w", n.Name, err)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(n.PID(), &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		return fmt.Errorf("pause %s: state %#x (%v)", n.Name, status, err)
	}
	return nil
}

// Resume lets a process go on that was paused.
func (n *Node) Resume() error { return n.Signal(syscall.SIGCONT) }

// Stop sends SIGTERM and waits until the process has ended; an exit code other
// than 0 is an error.
func (n *Node) Stop(ctx context.Context) error {
	if err := n.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop %s: %w", n.Name, err)
	}
	cmd, done := n.current()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("%s does not stop: %w\n%s", n.Name, ctx.Err(), n.LogTail(20))
	}
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s stopped with exit code %d\n%s", n.Name, code, n.LogTail(20))
	}
	return nil
}

// Restart starts a node that has ended and waits until it is ready.
func (n *Node) Restart(ctx context.Context) error {
	if err := n.Start(); err != nil {
		return err
	}
	return n.Await(ctx)
}

// Ended returns a channel that is closed when the process has ended.
func (n *Node) Ended() <-chan struct{} {
	_, done := n.current()
	return done
}

func (n *Node) exit() string {
	cmd, done := n.current()
	select {
	case <-done:
		return cmd.ProcessState.String()
	default:
		return "running"
	}
}

// Log returns everything that the node wrote.
func (n *Node) Log() (string, error) {
	b, err := os.ReadFile(n.log)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return string(b), err
}

// LogTail returns the last lines of the log.
func (n *Node) LogTail(lines int) string {
	text, err := n.Log()
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
