// Command plutoctl is the administrator's tool.
//
//	plutoctl -config FILE status    asks every node of the file whether it serves
//	plutoctl hash                   makes a password hash of standard input's first line
//
// status exits with 1 when a node does not serve.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-pluto/pluto/auth"
	"github.com/go-pluto/pluto/config"
)

var version = "development" // set by the linker

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "plutoctl:", err)
			os.Exit(1)
		}
	}
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	set := flag.NewFlagSet("plutoctl", flag.ContinueOnError)
	set.SetOutput(stderr)
	file := set.String("config", "config.toml", "configuration `file` of the region")
	set.Usage = func() {
		fmt.Fprintln(stderr, "usage: plutoctl [-config FILE] status | hash | version")
		set.PrintDefaults()
	}
	if err := set.Parse(args); err != nil {
		return err
	}
	switch set.Arg(0) {
	case "status":
		cfg, err := config.Load(*file)
		if err != nil {
			return err
		}
		return status(context.Background(), cfg, stdout)
	case "hash":
		return hash(stdin, stdout)
	case "version":
		fmt.Fprintln(stdout, "plutoctl", version)
		return nil
	}
	set.Usage()
	return fmt.Errorf("%q is not a command", set.Arg(0))
}

// hash prints the hash of a password in the form that users.txt and the table
// users take.
func hash(stdin io.Reader, stdout io.Writer) error {
	line, err := bufio.NewReader(stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the password: %w", err)
	}
	password := strings.TrimRight(line, "\r\n")
	if password == "" {
		return errors.New("no password on standard input")
	}
	h, err := auth.NewHash(password)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, h)
	return err
}

// nodeTimeout is how long status waits for a node.
const nodeTimeout = 3 * time.Second

// endpoint is a node that status asks.
type endpoint struct{ role, name, addr string }

func endpoints(cfg *config.Config) []endpoint {
	var list []endpoint
	if d := cfg.Distributor; d != nil {
		list = append(list, endpoint{"distributor", d.Name, d.PrometheusAddr})
	}
	for _, w := range cfg.Workers {
		list = append(list, endpoint{"worker", w.Name, w.PrometheusAddr})
	}
	if s := cfg.Storage; s != nil {
		list = append(list, endpoint{"storage", s.Name, s.PrometheusAddr})
	}
	return list
}

// status prints a line for every node and fails when one does not serve.
func status(ctx context.Context, cfg *config.Config, stdout io.Writer) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	failed := 0
	for _, e := range endpoints(cfg) {
		ready, text := ask(ctx, e.addr)
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
