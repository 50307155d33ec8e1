// Package telemetry is what an operator sees of a node from outside: its
// Prometheus metrics, whether it is alive and whether it serves, over HTTP on
// the node's PrometheusAddr.
//
//	/metrics   Prometheus text format
//	/healthz   200 while the process runs
//	/readyz    200 when the node serves its users, 503 with the reasons until
//	           then; a node that serves with fewer safeguards than configured
//	           answers 200 and lists them after "degraded"
//	/debug/pprof/   profiles of the process (net/http/pprof)
//	/          the above as a page for people
//
// The listener speaks plain HTTP and belongs on loopback or a management
// network. It never shows names of users, mailboxes or messages.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// State is a node's readiness at one moment.
type State struct {
	NotReady []string // reasons why it does not serve; empty: it serves
	Degraded []string // safeguards that are missing while it serves
}

// Text returns the body of /readyz.
func (s State) Text() string {
	var b strings.Builder
	switch {
	case len(s.NotReady) > 0:
		b.WriteString("not ready\n")
		for _, r := range s.NotReady {
			fmt.Fprintf(&b, "- %s\n", r)
		}
	case len(s.Degraded) > 0:
		b.WriteString("ready, degraded\n")
	default:
		b.WriteString("ready\n")
	}
	for _, r := range s.Degraded {
		fmt.Fprintf(&b, "- degraded: %s\n", r)
	}
	return b.String()
}

// NewRegistry returns a registry with the metrics of the Go runtime and the process.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Server answers the paths of the package documentation.
type Server struct {
	http *http.Server
	done chan error
	addr net.Addr
}

// Listen starts a server on addr; state is asked at every request and may be
// called concurrently. An empty addr gives a server that listens nowhere.
func Listen(addr, node string, gather prometheus.Gatherer, state func() State) (*Server, error) {
	if addr == "" {
		return &Server{}, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("PrometheusAddr = %q: %w", addr, err)
	}
	s := &Server{
		http: &http.Server{Handler: handler(node, gather, state), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute},
		done: make(chan error, 1),
		addr: l.Addr(),
	}
	go func() { s.done <- s.http.Serve(l) }()
	return s, nil
}

// Addr returns where the server listens, nil if nowhere.
func (s *Server) Addr() net.Addr { return s.addr }

// Close ends the server; requests under way get until ctx ends and are cut off then.
func (s *Server) Close(ctx context.Context) error {
	if s.http == nil {
		return nil
	}
	err := s.http.Shutdown(ctx)
	if err != nil && ctx.Err() != nil {
		err = s.http.Close()
	}
	if serr := <-s.done; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

func handler(node string, gather prometheus.Gatherer, state func() State) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(gather, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		text(w, http.StatusOK, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		s := state()
		code := http.StatusOK
		if len(s.NotReady) > 0 {
			code = http.StatusServiceUnavailable
		}
		text(w, code, s.Text())
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		text(w, http.StatusOK, "pluto "+node+"\n\n"+state().Text()+"\n/metrics\n/healthz\n/readyz\n/debug/pprof/\n")
	})
	return mux
}

func text(w http.ResponseWriter, code int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, body) // the reader's loss if it has gone
}
