package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/admin"
	"github.com/go-pluto/pluto/config"
	"github.com/go-pluto/pluto/crdt"
)

var statusCommand = command{
	name: "status", about: "asks every node of the file whether it serves, and what it and its peers have", run: showStatus,
}

// nodeTimeout is how long status waits for an answer of a node.
const nodeTimeout = 3 * time.Second

// showStatus prints whether nodes serve, as /readyz says it, then what those
// that keep mail know of themselves and their peers.
func showStatus(ctx context.Context, e *environment, args []string) error {
	if err := e.newFlags("status", "").Parse(args); err != nil {
		return err
	}
	cfg, err := e.config()
	if err != nil {
		return err
	}
	ready := readiness(ctx, cfg, e.stdout)
	if _, err := e.identity(); err != nil {
		fmt.Fprintf(e.stdout, "\nNo details: %v\n", err)
		return ready
	}
	for _, n := range endpoints(cfg) {
		if n.mail == "" {
			continue
		}
		fmt.Fprintln(e.stdout)
		if err := e.details(ctx, n); err != nil {
			fmt.Fprintf(e.stdout, "%s: no details: %s\n", n.name, status.Convert(err).Message())
		}
	}
	return ready
}

// endpoint is a node that status asks.
type endpoint struct {
	role, name string
	http       string
	mail       string // where it takes administration; empty: nowhere
}

func endpoints(cfg *config.Config) []endpoint {
	var list []endpoint
	if d := cfg.Distributor; d != nil {
		list = append(list, endpoint{"distributor", d.Name, d.PrometheusAddr, ""})
	}
	for _, w := range cfg.Workers {
		list = append(list, endpoint{"worker", w.Name, w.PrometheusAddr, w.PublicMailAddr})
	}
	if s := cfg.Storage; s != nil {
		list = append(list, endpoint{"storage", s.Name, s.PrometheusAddr, s.PublicMailAddr})
	}
	return list
}

// readiness prints what every node says of itself and fails when one does not serve.
func readiness(ctx context.Context, cfg *config.Config, stdout io.Writer) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	failed := 0
	for _, e := range endpoints(cfg) {
		ready, text := ask(ctx, e.http)
		if !ready {
			failed++
		}
		lines := strings.Split(strings.TrimSpace(text), "\n")
		fmt.Fprintf(w, "%s\t%s\t%s\n", e.role, e.name, lines[0])
		for _, l := range lines[1:] {
			fmt.Fprintf(w, "\t\t%s\n", l)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d nodes do not serve", failed, len(endpoints(cfg)))
	}
	return nil
}

// ask returns what a node says of itself on /readyz.
func ask(ctx context.Context, addr string) (ready bool, text string) {
	if addr == "" {
		return true, "unknown: no PrometheusAddr configured"
	}
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return false, err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, "down: " + err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return false, "down: " + err.Error()
	}
	return resp.StatusCode == http.StatusOK, string(body)
}

// details asks a node for what it knows and prints it.
func (e *environment) details(ctx context.Context, n endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	conn, err := e.dial(n.name)
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := admin.NewStatusClient(conn).Node(ctx, &admin.StatusRequest{})
	if err != nil {
		return err
	}
	return printNode(e.stdout, s)
}

func printNode(w io.Writer, s *admin.NodeStatus) error {
	fmt.Fprintf(w, "%s: %s, %d sessions\n", s.GetName(), s.GetRole(), s.GetSessions())
	for _, n := range s.GetSubnets() {
		fmt.Fprintf(w, "  %s: users %d-%d, slot %d, incarnation %v: %d operations, %d of them at every member",
			n.GetName(), n.GetFirstUser(), n.GetLastUser(), n.GetSlot(), crdt.Origin(n.GetOrigin()), n.GetOperations(), n.GetStable())
		if n.GetQueued() > 0 || n.GetQueuedBytes() > 0 {
			fmt.Fprintf(w, "; %d more (%d bytes) on their way in", n.GetQueued(), n.GetQueuedBytes())
		}
		fmt.Fprintln(w)
		if err := printMembers(w, n.GetMembers()); err != nil {
			return err
		}
		for _, q := range n.GetQuarantined() {
			fmt.Fprintf(w, "    QUARANTINED: user %d, since %s: %s\n", q.GetUser(),
				time.UnixMilli(q.GetSinceMilliseconds()).UTC().Format(time.RFC3339), q.GetReason())
		}
	}
	return nil
}

// printMembers prints a line for each peer: what it has, what it lacks of this
// node and since when, and what it has that this node lacks.
func printMembers(w io.Writer, members []*admin.MemberStatus) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, m := range members {
		fmt.Fprintf(t, "    %s\t%s\thas %d\tlacks %d", m.GetName(), streams(m), m.GetOperations(), m.GetLacks())
		if m.GetLacks() > 0 {
			fmt.Fprintf(t, " for %v", time.Duration(m.GetLagMilliseconds())*time.Millisecond)
		}
		fmt.Fprintf(t, "\towes %d\t%s\n", m.GetOwes(), remark(m))
	}
	return t.Flush()
}

func streams(m *admin.MemberStatus) string {
	switch {
	case m.GetSending() && m.GetReceiving():
		return "connected"
	case m.GetSending():
		return "connected to it only"
	case m.GetReceiving():
		return "connected from it only"
	}
	return "away"
}

func remark(m *admin.MemberStatus) string {
	switch {
	case !m.GetSending():
		return m.GetError()
	case m.GetBehind():
		return "behind: OKs do not wait for it"
	}
	return ""
}
