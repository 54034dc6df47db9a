-- Tells jmap-push-proxy of every change in a mailbox of Dovecot 2.3 (tried with 2.3.19).
--
-- Put it at /etc/dovecot/notify.lua, and into Dovecot's configuration:
--
--   mail_plugins = $mail_plugins notify push_notification mail_lua push_notification_lua
--   plugin {
--     push_notification_driver = lua:file=/etc/dovecot/notify.lua
--     jmap_push_url = http://127.0.0.1:8891/notify
--     jmap_push_token = TOKEN
--   }
--
-- with the address and the token of [notify.http] in proxy.toml. Each transaction is one POST; what it
-- says, and what else is worth knowing, is in docs/notify.md. A proxy that is away or hangs costs a
-- delivery or an IMAP command a second at most, and never the mail: a line in Dovecot's log says so.
--
-- Dovecot 2.4 has other names for the settings of its HTTP client: untried.

local client

function script_init()
  -- submit() waits for the answer, and so does whoever delivers or uses IMAP: all of these are bounds
  -- to that. Every process of Dovecot has a connection, which without the last one stays open.
  client = dovecot.http.client({
    request_absolute_timeout_msecs = 1000,
    connect_timeout_msecs = 500,
    max_attempts = 1,
    no_auto_retry = true,
    max_idle_time_msecs = 2000,
  })
  return 0
end

-- The names and arguments of the functions below are Dovecot's. Events without one are not computed.

function dovecot_lua_notify_begin_txn(user)
  return { user = user, types = {}, delivery = false }
end

-- JMAP's data types: a Mailbox counts its mails and the unread ones, so that it changes with them.

local function mails_changed(txn)
  txn.types.Email = true
  txn.types.Mailbox = true
  txn.types.Thread = true
end

local function flags_changed(txn)
  txn.types.Email = true
  txn.types.Mailbox = true
end

local function mailboxes_changed(txn)
  txn.types.Mailbox = true
end

function dovecot_lua_notify_event_message_new(txn, event)
  mails_changed(txn)
  txn.delivery = true
end

dovecot_lua_notify_event_message_append = mails_changed
dovecot_lua_notify_event_message_expunge = mails_changed

dovecot_lua_notify_event_message_read = flags_changed
dovecot_lua_notify_event_message_trash = flags_changed
dovecot_lua_notify_event_flags_set = flags_changed
dovecot_lua_notify_event_flags_clear = flags_changed

dovecot_lua_notify_event_mailbox_create = mailboxes_changed
dovecot_lua_notify_event_mailbox_delete = mailboxes_changed
dovecot_lua_notify_event_mailbox_rename = mailboxes_changed
dovecot_lua_notify_event_mailbox_subscribe = mailboxes_changed
dovecot_lua_notify_event_mailbox_unsubscribe = mailboxes_changed

-- A JSON string (RFC 8259 section 7).
local function quoted(text)
  local escape = function(character) return string.format("\\u%04x", character:byte()) end
  return '"' .. text:gsub('[%c"\\]', escape) .. '"'
end

local function message(txn)
  local types = {}
  for name in pairs(txn.types) do types[#types + 1] = quoted(name) end
  table.sort(types)
  local delivery = txn.delivery and ',"delivery":true' or ""
  return '{"user":' .. quoted(txn.user.username) .. ',"types":[' .. table.concat(types, ",") .. "]" .. delivery .. "}"
end

-- A transaction that failed is told as well: what it has left behind the proxy asks the JMAP server.
function dovecot_lua_notify_end_txn(txn, success)
  if next(txn.types) == nil then return end
  local request = client:request({ url = txn.user:plugin_getenv("jmap_push_url"), method = "POST" })
  request:add_header("Authorization", "Bearer " .. txn.user:plugin_getenv("jmap_push_token"))
  request:add_header("Content-Type", "application/json")
  request:set_payload(message(txn))
  local response = request:submit()
  if response:status() // 100 ~= 2 then
    dovecot.i_warning("jmap-push-proxy: " .. response:status() .. " " .. response:reason())
  end
end
