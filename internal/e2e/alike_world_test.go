package e2e

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// world is what all servers and clients of a comparison share: keys, certificates, and what can be reached.
type world struct {
	folder  string
	keys    map[string]peers.Key
	hostKey peers.Key
	targets map[string]string // WEB and DB, host:port
}

// certificates are those of users, by the name of their key: what ssh-keygen is told. The authority is ca, but for the last.
var certificates = map[string]string{
	"cert-alice":     "-n alice -z 1",
	"cert-ops":       "-n ops -z 2",
	"cert-expired":   "-n alice -z 3 -V 20200101:20200102",
	"cert-elsewhere": "-n alice -z 4 -O source-address=127.0.0.7/32",
	"cert-bare":      "-n alice -z 5 -O clear",
	"cert-lost":      "-n alice -z 7",
	"cert-foreign":   "-n alice -z 1",
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{folder: t.TempDir(), keys: map[string]peers.Key{}}
	names := []string{"one", "two", "three", "lost", "ca", "foreign-ca", "host-ca"}
	for _, m := range members {
		names = append(names, m.Name)
	}
	for name := range certificates {
		names = append(names, name)
	}
	for _, name := range names {
		w.keys[name] = w.key(t, name)
	}
	w.hostKey = w.key(t, "host_key")
	w.targets = map[string]string{"WEB": greets(t, "hello from web\n"), "DB": greets(t, "hello from db\n")}
	for name, words := range certificates {
		authority := "ca"
		if name == "cert-foreign" {
			authority = "foreign-ca"
		}
		w.keygen(t, "-s "+authority+" -I "+name+" "+words+" "+name+".pub")
	}
	w.keygen(t, "-s host-ca -h -I bastion -n 127.0.0.1 host_key.pub")
	w.write(t, "known_hosts", "@cert-authority * "+string(w.keys["host-ca"].Authorized()))
	w.write(t, "banner", "For staff only.\n")
	w.write(t, "revoked", string(w.keys["lost"].Authorized()))
	w.write(t, "lost-serials", "serial: 7\n")
	w.keygen(t, "-k -f krl -s ca.pub lost-serials")
	return w
}

// key makes a key in the folder.
func (w *world) key(t *testing.T, name string) peers.Key {
	t.Helper()
	key, err := peers.NewKey(w.folder, name)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (w *world) keygen(t *testing.T, words string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ssh-keygen", append([]string{"-q"}, strings.Fields(words)...)...)
	cmd.Dir = w.folder
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", cmd, err, out)
	}
}

func (w *world) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.folder, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// words puts paths, addresses and keys into texts that are alike otherwise. The ports are free ones to listen on, which two servers
// can't share.
func (w *world) words(folder, port, another string) *strings.Replacer {
	all := []string{
		"{PORT}", port, "{ANOTHER}", another, "{WEB}", w.targets["WEB"], "{DB}", w.targets["DB"],
		"{FOLDER}", folder, "{WORLD}", w.folder,
	}
	for name, key := range w.keys {
		all = append(all, "{"+name+"}", strings.TrimSpace(string(key.Authorized())))
	}
	return strings.NewReplacer(all...)
}

// greets is a TCP server that says a text to whoever has sent a line, or his end.
func greets(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				defer c.Close()
				r := bufio.NewReader(c)
				_, _ = r.ReadString('\n')
				io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\n"+text)
				c.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, r)
			}()
		}
	}()
	return l.Addr().String()
}
