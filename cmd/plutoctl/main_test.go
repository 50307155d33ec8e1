package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-pluto/pluto/auth"
	"github.com/go-pluto/pluto/config"
)

func TestHashVerifies(t *testing.T) {
	var out bytes.Buffer
	if err := run(context.Background(), []string{"hash"}, strings.NewReader("secret word\n"), &out, &out); err != nil {
		t.Fatal(err)
	}
	h, err := auth.ParseHash(strings.TrimSpace(out.String()))
	if err != nil || !h.Verify("secret word") {
		t.Errorf("%q does not verify: %v", out.String(), err)
	}
	if err := run(context.Background(), []string{"hash"}, strings.NewReader("\n"), &out, &out); err == nil {
		t.Error("an empty password was hashed")
	}
}

func TestStatusTellsWhoServes(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("ready, degraded\n- degraded: no stream to storage\n"))
	}))
	defer up.Close()
	down := httptest.NewServer(nil)
	down.Close()
	cfg := &config.Config{
		Distributor: &config.Distributor{Name: "edge", PrometheusAddr: up.Listener.Addr().String()},
		Storage:     &config.Storage{Node: config.Node{Name: "storage", PrometheusAddr: down.Listener.Addr().String()}},
	}
	var out bytes.Buffer
	err := readiness(context.Background(), cfg, &out)
	if err == nil || !strings.Contains(err.Error(), "1 of 2") {
		t.Errorf("error %v, want 1 of 2 nodes", err)
	}
	for _, want := range []string{"edge", "degraded: no stream to storage", "down: "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, out.String())
		}
	}
}

func TestUnknownCommand(t *testing.T) {
	var out bytes.Buffer
	if err := run(context.Background(), []string{"destroy"}, strings.NewReader(""), &out, &out); err == nil {
		t.Error("no error for an unknown command")
	}
}
