// Command ferretdb serves the MongoDB protocol from SQLite files, for the store's tests.
package main

import (
	"context"
	"flag"
	"log"
	"os/signal"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

// What docs/privacy.md asks of a server whose drawings shall be erased for good: deleted content is overwritten, and the
// log is emptied after each change, so that the next one cuts off what it held.
const erasing = "_pragma=secure_delete(1)&_pragma=wal_autocheckpoint(1)&_pragma=journal_size_limit(0)"

func main() {
	address := flag.String("address", "127.0.0.1:27017", "where to listen")
	dir := flag.String("dir", "", "the folder that keeps the data; it must exist")
	flag.Parse()

	if *dir == "" {
		log.Fatal("-dir is missing")
	}

	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: *address},
		Handler:   "sqlite",
		SQLiteURL: "file:" + *dir + "/?" + erasing,
	})
	if err != nil {
		log.Fatal(err)
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	if err = server.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
