//! The words of the audit log.

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name {
            $($variant,)+
        }

        impl $name {
            /// Its word in the client protocol.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }
        }
    };
}

words! {
    /// The kind of deed, mostly named as the request that asks for it. Stored by position: new ones go to the
    /// end.
    Action {
        Kick = "kick",
        Ban = "ban",
        Unban = "unban",
        Mute = "mute",
        Unmute = "unmute",
        SetRole = "set_role",
        Topic = "topic",
        RoomSettings = "room_settings",
        RoomPassword = "room_password",
        RenameRoom = "rename_room",
        DeleteRoom = "delete_room",
        Delete = "delete",
        FileDelete = "file_delete",
        Pin = "pin",
        Unpin = "unpin",
        CreateHook = "create_hook",
        DeleteHook = "delete_hook",
        Register = "register",
        SetAdmin = "set_admin",
        SetPassword = "set_password",
        DeleteAccount = "delete_account",
        ImportRoom = "import_room",
        TransferLeader = "transfer_leader",
        BackupMade = "backup_made",
        ServerAdd = "server_add",
        ServerRemove = "server_remove",
        ServerReplace = "server_replace",
        ServerDrain = "server_drain",
    }
}

words! {
    /// What gave the power to do it. Stored by position: new ones go to the end.
    Standing {
        Operator = "operator",
        Administrator = "administrator",
        Owner = "owner",
        Moderator = "moderator",
    }
}
