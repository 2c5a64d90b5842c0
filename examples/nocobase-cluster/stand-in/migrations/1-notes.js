module.exports = async (query) => query({ insert: 'notes', row: 'welcome' });
