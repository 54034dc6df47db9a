-- A store of schema version 1 as the first release wrote it, with one subscription; its key is 32 zeros.
-- Never to be changed: it stands for the files that operators have.

PRAGMA foreign_keys = OFF;
CREATE TABLE capabilities (
        list INTEGER PRIMARY KEY,
        names TEXT NOT NULL UNIQUE
    ) STRICT;
INSERT INTO "capabilities" VALUES(1,'["urn:ietf:params:jmap:core","urn:ietf:params:jmap:mail"]');
CREATE TABLE setting (
        name TEXT PRIMARY KEY,
        value BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
INSERT INTO "setting" VALUES('key check',X'3690070e108c92f5eee148957ae1c9db28c6ff40f555d8c1ad1960ee5280f6c7b0a21bbfe9');
CREATE TABLE subscription (
        id TEXT PRIMARY KEY,
        username TEXT NOT NULL,
        device_client_id TEXT NOT NULL,
        owner TEXT NOT NULL,
        created INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        types TEXT,
        is_verified INTEGER NOT NULL,
        verification_sent INTEGER,
        wrong_codes INTEGER NOT NULL,
        vapid INTEGER NOT NULL REFERENCES vapid_key (id),
        accounts TEXT NOT NULL,
        api_path TEXT NOT NULL,
        host TEXT,
        disabled TEXT,
        sealed BLOB NOT NULL,
        given TEXT NOT NULL
    ) STRICT;
INSERT INTO "subscription" VALUES('PdHdlbHZlIGJ5dGVz','PdHdlbHZlIGJ5dGVz@example.com','device of PdHdlbHZlIGJ5dGVz','grant:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc',1785931200,1786000003,'Email Mailbox EmailDelivery',1,1785931201,3,1,'p 1 uPdHdlbHZlIGJ5dGVz
s 1 an account with spaces
','/jmap/api/',NULL,'403 BadJwtToken',X'653a4dc413cc59db184bbdea0cac31258584e176c622ce81c8a71198daff89acc7adf17c4dec7d4b986048eadcc0105f09fdc6e426d4be0b13de4a044da1e3640dccb48b5caacbfb5b26a5055694876edcfa515bbe239389197411d64cfbf5af730d5816a3ef7a10b99e77edf0cd4192963463f955383a59fb7f36c1433abcba7cbe2879be77e865b32d7bff5b3fff0c56bd2b2f7b6d7dbe72731bc6a59f8429b6d7a70f6e3b242badcfe36259eb4cd580cb16a283eeeb1bbed86997444bb684693d21219a39711524cb6020a25634518ad99197e273c071bde80e3346cd53afe1395d0c5d94ef76c931398c06d03efee810e7140cef1ebbcfc2852937d853188fbabca419fc4a7919cbcb8a48d7d128c2d5e645b82fd72d29f40531f029a61631ba266f442b7c22f51b7cac952043b56f78be79ab0c2b7781cc6bff4bdb02016b','1sAAAA');
CREATE TABLE vapid_key (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        sealed BLOB NOT NULL,
        created INTEGER NOT NULL,
        retired INTEGER
    ) STRICT;
INSERT INTO "vapid_key" VALUES(1,X'330bb58efb046a6d5e9a7378af2df591a9a1d2a9cfa74f7161850dad29a88c214ed85179ecab2dc35ae5b7c40c988d219fa86e',1,NULL);
PRAGMA application_id = 1246777459;
PRAGMA user_version = 1;
PRAGMA journal_mode = WAL;
