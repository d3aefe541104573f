package control_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvert-ssh/culvert/control"
)

// runFake runs a session between two fakes, in the time of a synctest bubble.
func runFake(t *testing.T) (client, server *fake, result <-chan error) {
	client, server = newFake(), newFake()
	r := make(chan error, 1)
	go func() {
		r <- control.Run(t.Context(), control.Config{Client: client, Server: server, Endpoints: &endpoints{}, Session: newSession()})
	}()
	return client, server, r
}

func wantExpired(t *testing.T, result <-chan error, since time.Time) {
	t.Helper()
	err := <-result
	if took := time.Since(since); !errors.Is(err, control.ErrRefused) || took < 5*time.Minute || took > 5*time.Minute+10*time.Second {
		t.Errorf("Run returned %v after %v, want ErrRefused after 5 minutes", err, took)
	}
}

func TestServerThatNeverGreetsIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, result := runFake(t)
		wantExpired(t, result, time.Now())
	})
}

// A greeting or a password that comes a byte at a time is none.
func TestDribbleIsNoLogin(t *testing.T) {
	for name, dribble := range map[string]func(client, server *fake) (in chan<- string){
		"server": func(_, server *fake) chan<- string { server.in <- "220-"; return server.in },
		"client": func(client, server *fake) chan<- string {
			server.in <- "220 hello\r\n"
			client.in <- "USER a"
			return client.in
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server, result := runFake(t)
				begin := time.Now()
				in := dribble(client, server)
				ended := make(chan struct{})
				stopped := make(chan struct{})
				go func() {
					defer close(stopped)
					for {
						time.Sleep(time.Minute) // that of the bubble
						select {
						case in <- "x":
						case <-ended:
							return
						}
					}
				}()
				wantExpired(t, result, begin)
				close(ended)
				<-stopped
			})
		})
	}
}

func TestLoginHasNoTimeOnceItIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, result := runFake(t)
		server.in <- "220 hello\r\n"
		client.in <- "USER a\r\n"
		synctest.Wait() // or the answer is there before the question
		server.in <- "230 in\r\n"
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		select {
		case err := <-result:
			t.Fatalf("Run returned %v in a day with nothing said", err)
		default:
		}
		begin := time.Now()
		client.in <- "USER b\r\n"
		synctest.Wait()
		server.in <- "331 password\r\n"
		wantExpired(t, result, begin)
	})
}
