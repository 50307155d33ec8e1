package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/bench/imapc"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// TestDeadOriginIsForwarded: a worker hands changes to storage alone, because the line to
// the other region is cut, and is lost with its disk. The other region was cut off from
// storage too until then; it gets them from there.
func TestDeadOriginIsForwarded(t *testing.T) {
	const user = 7
	c := ownCluster(t, cluster.Options{WAN: true})
	worksSoon(t, c, c.US, user) // at the worker of us
	awaitWell(t, c, c.US, c.US.Worker)
	c.Network.Partition(euWorker, "")
	conn := dialUser(t, c, c.US, user)
	do(t, "CREATE", doing(conn, "CREATE legacy"))
	for _, text := range []string{"Subject: kept\r\n\r\nlast words\r\n", "Subject: gone\r\n\r\n"} {
		_, err := conn.Append("legacy", "", []byte(text), false)
		do(t, "APPEND", err)
	}
	do(t, "SELECT", conn.Select("legacy"))
	for _, command := range []string{`STORE 1 +FLAGS (\Flagged)`, `STORE 2 +FLAGS (\Deleted)`, "EXPUNGE"} {
		do(t, command, doing(conn, command))
	}
	if at := lastReplica(t, c.US.Distributor, user); at != usWorker {
		t.Fatalf("it was %s that did it", at)
	}
	c.US.Worker.Kill()
	<-c.US.Worker.Ended()
	if err := os.RemoveAll(filepath.Join(c.Dir, "data", c.US.Worker.Name)); err != nil {
		t.Fatal(err)
	}
	c.Network.Heal()
	until(t, timeout(t, time.Minute), "what the lost worker left", func() (bool, error) {
		there, err := target(t, c, c.EU).Dial(t.Context())
		if err != nil {
			return false, err
		}
		defer there.Close()
		name, password := cluster.User(user)
		if err := there.Login(name, password); err != nil {
			return false, err
		}
		if err := there.Select("legacy"); err != nil {
			return false, err
		}
		flags := ""
		_, err = there.Do("FETCH 1:* (FLAGS)", func(r *imapc.Response) { flags += string(r.Rest) })
		return there.Exists == 1 && strings.Contains(flags, "Flagged") && lastReplica(t, c.EU.Distributor, user) == euWorker, err
	})
	worksSoon(t, c, c.EU, user)
}

// lastReplica returns where a distributor has opened a user's last session.
func lastReplica(t *testing.T, distributor *cluster.Node, user int) string {
	t.Helper()
	log, err := distributor.Log()
	if err != nil {
		t.Fatal(err)
	}
	login, _ := cluster.User(user)
	list := regexp.MustCompile(`msg="session opened".* login=`+login+` replica=(\S+)`).FindAllStringSubmatch(log, -1)
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1][1]
}

// doing does a command of which only the outcome matters.
func doing(conn *imapc.Conn, command string) error {
	_, err := conn.Do(command, nil)
	return err
}
