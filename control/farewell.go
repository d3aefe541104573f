package control

import (
	"context"
	"time"
)

// farewellTimeout is how long a client may leave its farewell unread.
const farewellTimeout = 2 * time.Second

// abortWhenDone aborts both sides when ctx is done; but the client, if there is a farewell for it, only when it has had the time to hear
// that.
func (r *run) abortWhenDone(ctx context.Context) (stop func() bool) {
	if r.Farewell == nil {
		return context.AfterFunc(ctx, r.abort)
	}
	client, server := r.wires[0], r.wires[1]
	return context.AfterFunc(ctx, func() {
		late := time.AfterFunc(farewellTimeout+lingerTimeout, client.Abort)
		server.Abort() // may take as long as the far end doesn't read
		<-r.done
		late.Stop()
	})
}

// sayFarewell tells the client why the session ends (RFC 959, section 5.4), if it is to know.
func (r *run) sayFarewell(err error) {
	if r.Farewell == nil {
		return
	}
	text := r.Farewell(err)
	if text == "" {
		return
	}
	late := time.AfterFunc(farewellTimeout, r.Client.Abort)
	failed := r.say(false, []byte("421 "+text+"\r\n"))
	if late.Stop() && failed == nil {
		r.finish()
	}
}
