package telemetry

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

func TestReadiness(t *testing.T) {
	var now atomic.Pointer[State]
	now.Store(&State{NotReady: []string{"slot not confirmed"}})
	s, err := Listen("127.0.0.1:0", "eu-worker-1", NewRegistry(), func() State { return *now.Load() })
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	get := func(path string) (int, string) {
		r, err := http.Get("http://" + s.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(b)
	}
	if c, b := get("/readyz"); c != 503 || !strings.Contains(b, "slot not confirmed") {
		t.Errorf("not ready: %d %q", c, b)
	}
	now.Store(&State{Degraded: []string{"peer storage is down"}})
	if c, b := get("/readyz"); c != 200 || !strings.Contains(b, "degraded: peer storage is down") {
		t.Errorf("degraded: %d %q", c, b)
	}
	now.Store(&State{})
	if c, b := get("/readyz"); c != 200 || b != "ready\n" {
		t.Errorf("ready: %d %q", c, b)
	}
	if c, _ := get("/healthz"); c != 200 {
		t.Errorf("healthz: %d", c)
	}
	if c, b := get("/metrics"); c != 200 || !strings.Contains(b, "go_goroutines") {
		t.Errorf("metrics: %d %.80q", c, b)
	}
	if c, b := get("/debug/pprof/"); c != 200 || !strings.Contains(b, "goroutine") {
		t.Errorf("pprof: %d %.80q", c, b)
	}
	if c, _ := get("/nothing"); c != 404 {
		t.Errorf("unknown path: %d", c)
	}
}

func TestListenNowhere(t *testing.T) {
	s, err := Listen("", "n", NewRegistry(), nil)
	if err != nil || s.Addr() != nil {
		t.Fatal(err, s.Addr())
	}
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("nonsense", "n", NewRegistry(), nil); err == nil {
		t.Fatal("no error for a bad address")
	}
}

// TestCloseCutsOff: who asks and does not end cannot make a stop fail.
func TestCloseCutsOff(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	s, err := Listen("127.0.0.1:0", "eu-worker-1", NewRegistry(), func() State {
		close(asked)
		<-answer
		return State{}
	})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		r, err := http.Get("http://" + s.Addr().String() + "/readyz")
		if err == nil {
			r.Body.Close()
		}
		got <- err
	}()
	<-asked
	ended, end := context.WithCancel(context.Background())
	end()
	if err := s.Close(ended); err != nil {
		t.Error(err)
	}
	close(answer)
	if err := <-got; err == nil {
		t.Error("the request was answered")
	}
}
