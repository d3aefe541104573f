package control_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvert-ssh/culvert/control"
)

// wantOngoing fails if the session has ended.
func wantOngoing(t *testing.T, result <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-result:
		t.Fatalf("Run returned %v in the middle", err)
	default:
	}
}

// login goes through the login of two fakes.
func login(client, server *fake) {
	server.in <- "220 hello\r\n"
	client.in <- "USER a\r\n"
	synctest.Wait() // or the answer is there before the question
	server.in <- "230 in\r\n"
	synctest.Wait()
}

// What is begun after the login has five minutes to be whole, silent or a byte a minute.
func TestWhatIsBegunHasATimeAsAWhole(t *testing.T) {
	for _, tc := range []struct {
		name, begin, next string
		server            bool
		reason            string
	}{
		{"a command that stops", "RETR fi", "", false, "the client began a command line"},
		{"a command that lacks its LF", "RETR file\r", "", false, "the client began a command line"},
		{"a command by the byte", "RETR fi", "l", false, "the client began a command line"},
		{"a reply that stops", "213-sta", "", true, "the server began a reply and did not end it in time: \"213-sta\""},
		{"a reply whose lines have no end", "213-status\r\n", " x\r\n", true, "the server began a reply and did not end it in time: \"213-status\""},
		{"an empty line that stops", "\r", "", true, "the server began a reply"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server, result := runFake(t)
				login(client, server)
				time.Sleep(time.Hour)
				in := client.in
				if tc.server {
					in = server.in
				}
				begin := time.Now()
				in <- tc.begin
				for range 4 {
					time.Sleep(time.Minute)
					if tc.next != "" {
						in <- tc.next
					}
					wantOngoing(t, result)
				}
				err := <-result
				if took := time.Since(begin); !errors.Is(err, control.ErrRefused) || !strings.Contains(err.Error(), tc.reason) || took < 5*time.Minute || took > 5*time.Minute+10*time.Second {
					t.Errorf("Run returned %v after %v, want ErrRefused with %q after 5 minutes", err, took, tc.reason)
				}
			})
		})
	}
}

// Each line and each reply has a time of its own, however they are cut into segments.
func TestWhoIsBusyHasNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, result := runFake(t)
		login(client, server)
		client.in <- "NO"
		for range 10 {
			time.Sleep(4 * time.Minute)
			client.in <- "OP\r\nNO" // the end of one and the beginning of the next
			synctest.Wait()
			server.in <- "200 ok\r\n213-sta"
			time.Sleep(30 * time.Second)
			server.in <- "tus\r\n213 end\r\n" // answers nothing
			wantOngoing(t, result)
		}
		client.in <- "OP\r\n"
		time.Sleep(24 * time.Hour)
		wantOngoing(t, result)
		server.Abort()
		<-result
	})
}

// A client whose commands are held back can't go on, as nobody reads it.
func TestTimeOfACommandDoesNotRunWhileTheClientIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, result := runFake(t)
		login(client, server)
		client.in <- "PASV\r\n" + strings.Repeat("NOOP\r\n", 400) + "NO" // more than is held
		time.Sleep(time.Hour)
		wantOngoing(t, result)
		server.Abort()
		<-result
	})
}

// A client that has ended its side, and isn't told anything, is not waited for because the server says what answers nothing.
func TestServerThatSaysWhatAnswersNothingKeepsNoSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, result := runFake(t)
		login(client, server)
		close(client.in)
		begin := time.Now()
		for range 4 {
			time.Sleep(time.Minute)
			server.in <- "200 still here\r\n"
			wantOngoing(t, result)
		}
		err := <-result
		if took := time.Since(begin); err == nil || took != 5*time.Minute {
			t.Errorf("Run returned %v after %v, want an error after 5 minutes", err, took)
		}
	})
}
