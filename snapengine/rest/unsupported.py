"""Members of the API's family that a single host without image and backup servers has no place for (SYS.1013)."""

_NO_STORE = "there is no backup or image storage on a single host; use 'snapengine snapshot export'"

ROWS = (
    ("backupVolumeSnapshot", "POST", "volume-snapshots/{uuid}/backup-storages", _NO_STORE),
    ("deleteVolumeSnapshotFromBackupStorage", "DELETE", "volume-snapshots/{uuid}/backup-storages", _NO_STORE),
    ("createRootVolumeTemplateFromVolumeSnapshot", "POST",
     "images/root-volume-templates/from/volume-snapshots/{volumeSnapshotUuid}", _NO_STORE),
    ("createDataVolumeTemplateFromVolumeSnapshot", "POST",
     "images/data-volume-templates/from/volume-snapshots/{volumeSnapshotUuid}", _NO_STORE),
    ("createDataVolumeFromVolumeTemplate", "POST", "volumes/data/from/data-volume-templates/{imageUuid}", _NO_STORE),
    ("createSystemTag", "POST", "system-tags", "give tags when the object is made, or use 'snapengine tag add'"),
    ("createUserTag", "POST", "user-tags", "give tags when the object is made, or use 'snapengine tag add --user'"),
    ("deleteTag", "DELETE", "tags/{uuid}", "tags have no uuids here; use 'snapengine tag remove'"),
)  # fmt: skip

WHY = {name: why for name, _, _, why in ROWS}
